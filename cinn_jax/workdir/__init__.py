"""A run's folder: checkpoints, state, log, lock and status."""
