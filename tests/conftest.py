"""Settings for every test, made before JAX is used."""

import os

import jax

# Broadcasting between ranks hides mistakes; the package spells it out.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Exact checks need float64, which is one flag for a whole process:
# tests/test_exact.py runs them in a process of their own.
collect_ignore = [] if os.environ.get("JAX_ENABLE_X64") else ["exact"]
