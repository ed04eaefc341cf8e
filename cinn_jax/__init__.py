"""Conditional invertible networks for images, in JAX and Flax.

  flow, variables = cinn_jax.load("workdirs/colorize")
  samples, log_prob = flow.sample(variables, rng, cond, num_samples=8)

`Flow` is a tuple of pure functions; `make_flow` makes one from a bijection
(`cinn_jax.bijections`) and the shape of one example; `fit` trains it on arrays
or on a simulator.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from cinn_jax.experiment import load
  from cinn_jax.fitting import fit
  from cinn_jax.flow import Flow, make_flow

__all__ = ["Flow", "fit", "load", "make_flow"]

_HOMES = {
  "Flow": "cinn_jax.flow",
  # The module is not called fit, which would take the function's name here.
  "fit": "cinn_jax.fitting",
  "load": "cinn_jax.experiment",
  "make_flow": "cinn_jax.flow",
}


def __getattr__(name):
  # Lazily: `import cinn_jax` costs nothing, and never imports TensorFlow.
  if name not in _HOMES:
    raise AttributeError(f"module 'cinn_jax' has no attribute {name!r}")
  return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
  return sorted([*globals(), *__all__])
