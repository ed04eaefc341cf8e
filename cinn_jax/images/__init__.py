"""Pixels and picture files; knows no flow and no data source."""
