"""Sources of pictures, and batches of them in a fixed order."""
