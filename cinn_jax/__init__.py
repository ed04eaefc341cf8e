"""Conditional invertible networks for images, in JAX and Flax.

A conditional flow is an invertible network between data x and standard normal
latents z, steered by a condition: x = inverse(z; cond). It samples many answers
for one condition, and knows the exact density of each.

  restore    the trained run of a workdir: its flow, variables, task and config
  load       its flow and variables alone
  make_flow  a flow of your own, from a bijection and the shape of one example
  fit        trains a flow on arrays or on a simulator
  Flow       what all of these make or take: a tuple of pure functions

What `python -m cinn_jax.main --config=configs/mnist.py:digits` trained:

  >>> import cinn_jax, jax
  >>> flow, variables = cinn_jax.load("workdirs/mnist-digits")
  >>> cond = jax.nn.one_hot([3, 7], 10)
  >>> x, log_prob = flow.sample(
  ...   variables, jax.random.key(0), cond, num_samples=8
  ... )
  >>> x.shape
  (2, 8, 8, 8, 1)
  >>> z, log_det = flow.forward(variables, x[:, 0], cond)

A flow of your own:

  >>> from functools import partial
  >>> from cinn_jax import bijections as bj
  >>> from cinn_jax.models.networks.subnets import Subnet
  >>> subnet = partial(Subnet, widths=(16,), kernels=(3, 3))
  >>> block = bj.Chain((bj.AffineCoupling(subnet), bj.Orthogonal()))
  >>> module = bj.Chain((bj.Haar(), bj.Stack(block, 2)))
  >>> flow = cinn_jax.make_flow(module, event_shape=(8, 8, 1))

Forward is data to latent; images are [B, H, W, C]; log-densities are nats per
example, [B]. The functions of a flow may be jitted, differentiated and mapped.

Further modules:

  bijections     couplings, squeezes, mixings, splits; `base` has the contract
  models         subnets, condition networks, published networks, `vector_flow`
  tasks          pictures to (x, cond) and back
  data           photographs, folders and data sets, as batches
  training       `train` for a config; `step` for a loop of your own
  sampling       samples of pictures, ranked by likelihood
  evaluation     `latent` (walks, transfers), `calibration`, metrics
  likelihood     nats, bits per dimension
  pictures       contact sheets and files of pictures
  display        `show`: pictures in a notebook
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from cinn_jax.flow import Flow, make_flow
  from cinn_jax.training.fitting import fit
  from cinn_jax.workdir.trained import load, restore

__all__ = ["Flow", "fit", "load", "make_flow", "restore"]

_HOMES = {
  "Flow": "cinn_jax.flow",
  # The module is not called fit, which would take the function's name here.
  "fit": "cinn_jax.training.fitting",
  "load": "cinn_jax.workdir.trained",
  "make_flow": "cinn_jax.flow",
  "restore": "cinn_jax.workdir.trained",
}


def __getattr__(name):
  # Lazily: `import cinn_jax` costs nothing, and never imports TensorFlow.
  if name not in _HOMES:
    raise AttributeError(f"module 'cinn_jax' has no attribute {name!r}")
  return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
  return sorted([*globals(), *__all__])
