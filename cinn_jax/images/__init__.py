"""Pixels and picture files, independent of flows and data sources."""
