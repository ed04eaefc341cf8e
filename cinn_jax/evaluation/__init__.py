"""Evaluation of trained runs: likelihoods, sample quality and their tables."""
