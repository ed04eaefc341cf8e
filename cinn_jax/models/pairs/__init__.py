"""CAFLOW and its relatives: a flow of the condition and a flow given it."""
