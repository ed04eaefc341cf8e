"""Metrics: pure numbers per picture or per set."""
