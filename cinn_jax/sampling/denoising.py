"""Samples without the noise of training, by Tweedie's formula.

A flow is trained on pictures with Gaussian noise, x = v + sigma n, so its
samples have such noise too. The mean of v given x needs only the density of x,

  E[v | x, c] = x + sigma^2 d ln p(x | c) / dx

(Efron 2011, "Tweedie's formula and selection bias"), so one gradient of the
flow's likelihood removes the noise (Zhai et al. 2025, TARFlow). This is as
exact as the flow is. If the latents are scaled by a temperature, p remains the
density at temperature 1.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from cinn_jax.bijections import Array, Condition, PyTree
from cinn_jax.flow import Flow
from cinn_jax.models.pyramid import PyramidFlow
from cinn_jax.sampling.numbered import Draw
from cinn_jax.tasks import Task

# `(variables, cond, x [n, ...]) -> x [n, ...]`, for a batch of one condition.
Denoise = Callable[[PyTree, Condition, Array], Array]


def removable_noise(flow: Flow, task: Task) -> float:
  """Returns the standard deviation of the noise of training, in units of x.

  Raises:
    ValueError: if the formula does not hold: for a model without a likelihood,
      for a level of a pyramid alone, and for noise that is not Gaussian or has
      more than one standard deviation.
  """
  if flow.objective is not None:
    raise ValueError(
      "--denoise follows the gradient of the likelihood, which"
      f" {flow.objective.title} does not have: leave it out."
    )
  if not task.gaussian_noise:
    raise ValueError(
      "--denoise removes Gaussian noise of one standard deviation, but this run"
      f" was trained on {task.description}: leave it out."
    )
  module = flow.module
  if isinstance(module, PyramidFlow) and (
    module.base_size << (len(module.levels) - 1) < module.size
  ):
    raise ValueError(
      "--denoise needs the density of whole pictures, but this run has only"
      f" {', '.join(module.levels)} of a pyramid's levels: leave it out."
    )
  return task.gaussian_noise


def make_denoise(flow: Flow, noise: float) -> Denoise:
  """Returns a jitted function that moves samples to the mean without noise.

  Args:
    flow: The flow that the samples are from.
    noise: Standard deviation of the noise in its data, in units of x.
  """

  @jax.jit
  def denoise(variables: PyTree, cond: Condition, x: Array) -> Array:
    def total(x):
      # Maps over samples alone, so the condition is encoded once.
      one = jax.vmap(lambda x: flow.log_prob(variables, x[None], cond).total)
      return jnp.sum(one(x))

    return x + noise**2 * jax.grad(total)(x)

  return denoise


def denoised(
  draw: Draw, denoise: Denoise, variables: PyTree, cond: Condition
) -> Draw:
  """Returns a `Draw` without noise; log_prob is that of the noisy samples."""
  clean = functools.partial(denoise, variables, cond)

  def draw_clean(key, numbers, temperature):
    x, log_prob = draw(key, numbers, temperature)
    return clean(x), log_prob

  return draw_clean
