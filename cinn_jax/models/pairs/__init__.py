"""CAFLOW and its kind: two flows, one of the condition, one given it."""
