"""Checkpoints of other programs as this project's variables and workdirs."""
