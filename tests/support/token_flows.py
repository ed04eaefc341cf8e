"""Tiny token flows, which compile in a second, and random variables of them."""

import functools

import jax
import numpy as np

from cinn_jax.models.token_flow import token_flow
from tests.support.drawing import draw_variables, normal

TINY = {
  "size": 4,
  "patch": 2,
  "width": 8,
  "head_width": 4,
  "layers": 1,
  "condition_layers": 1,
  "blocks": 2,
}


def data(dtype=np.float32):
  """Returns x [2, 4, 4, 2] and a condition [2, 8, 8, 1]."""
  return normal(0, (2, 4, 4, 2), dtype), normal(1, (2, 8, 8, 1), dtype)


def build(kind, **options):
  """Returns a tiny token flow."""
  return token_flow(kind=kind, **{**TINY, **options})


@functools.cache
def case(kind, scale=0.3, dtype=np.float32, **options):
  """Returns (module, random variables, x, cond) of a tiny token flow."""
  module, (x, cond) = build(kind, **options), data(dtype)
  return module, draw_variables(module, 2, x, cond, scale), x, cond


@functools.cache
def jitted(module, method="forward"):
  """Returns the compiled `method(variables, value, cond)`."""
  return jax.jit(functools.partial(module.apply, method=method))
