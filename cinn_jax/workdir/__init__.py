"""The folder of a run: checkpoints, state, log, lock and status."""
