"""Functions of a flow that compile themselves when they are called eagerly."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.elementwise import Bounded


def compiled(
  function: Callable[..., Any], *, static: Sequence[str] = ()
) -> Callable[..., Any]:
  """Returns a function that compiles itself if nothing else does.

  Without this, each call outside of `jax.jit` would compile the flow's scans
  again. Inside of `jit`, and of what only traces, it is `function` itself.
  `static` names arguments that are not arrays.
  """
  jitted = jax.jit(function, static_argnames=static)

  @functools.wraps(function)
  def call(*args, **kwargs):
    return (function if _is_compiling() else jitted)(*args, **kwargs)

  return call


def compiled_with_checks(function: Callable[..., Any]) -> Callable[..., Any]:
  """As `compiled`, for a function of `(variables, x, cond)`.

  `Bounded` can only check the values of its data when it is not compiled. If
  results are not finite, a flow that has it runs again so that it can.
  """
  checks_values = False

  def find_checks(method, args, kwargs, context):
    nonlocal checks_values
    checks_values |= isinstance(context.module, Bounded)
    return method(*args, **kwargs)

  @jax.jit
  def jitted(variables, x, cond):
    with nn.intercept_methods(find_checks):
      result = function(variables, x, cond)
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(result)]
    return result, jnp.stack(finite).all()

  @functools.wraps(function)
  def call(variables, x, cond=None):
    if _is_compiling():
      return function(variables, x, cond)
    result, finite = jitted(variables, x, cond)
    # Under `grad` or `vmap` there is no value to look at.
    if checks_values and not _is_traced(finite) and not finite:
      function(variables, x, cond)
    return result

  return call


def compiled_sample(function: Callable[..., Any]) -> Callable[..., Any]:
  """As `compiled`, for `sample`; one program serves all temperatures."""
  jitted = jax.jit(function, static_argnames="num_samples")

  @functools.wraps(function)
  def call(variables, rng, cond=None, num_samples=1, temperature=1.0):
    if _is_compiling():
      return function(variables, rng, cond, num_samples, temperature)
    return jitted(
      variables,
      rng,
      cond,
      num_samples=operator.index(num_samples),
      temperature=jnp.asarray(temperature),
    )

  return call


def _is_compiling():
  """Tells if JAX records operations now, or is told not to compile any."""
  return jax.config.jax_disable_jit or _is_traced(jnp.asarray(0))


def _is_traced(array):
  """Tells if an array stands for values that are not there yet."""
  try:
    np.asarray(array)
  except jax.errors.TracerArrayConversionError:
    return True
  return False
