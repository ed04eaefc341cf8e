"""Imports checkpoints and weights that other programs wrote."""
