"""`--mode=latent`: walks, transfers and axes of the latent space."""
