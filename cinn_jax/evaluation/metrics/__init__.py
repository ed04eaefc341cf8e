"""Metrics: pure functions that give numbers per picture or per set."""
