"""Configs: their arguments, their recipes, and the flow and task they build."""
