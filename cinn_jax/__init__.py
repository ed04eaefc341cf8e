"""Conditional invertible networks for images, in JAX and Flax.

A conditional flow is an invertible network between data x and standard normal
latents z, given a condition: x = inverse(z; cond). It draws as many answers for
one condition as you like, and knows the exact density of each.

  restore      a workdir's trained run: its flow, variables, task and config
  load         its flow and variables alone; or those in a file from `save`
  save         writes a flow and its variables to one file
  make_flow    a flow of your own, from a bijection and the shape of one example
  fit          trains a flow on arrays or on a simulator
  Flow         the result of all of these: a tuple of pure functions
  vector_flow  a bijection for vectors, ready for `make_flow`
  StudentT     a base with heavy tails, for `make_flow`

A flow that comes with the package, or that you have trained:

  >>> import cinn_jax, jax
  >>> flow, variables = cinn_jax.load("mnist")
  >>> cond = jax.nn.one_hot([3, 7], 10)
  >>> x, log_prob = flow.sample(
  ...   variables, jax.random.key(0), cond, num_samples=8
  ... )
  >>> x.shape
  (2, 8, 28, 28, 1)
  >>> z, log_det = flow.forward(variables, x[:, 0], cond)

A flow of your own:

  >>> from functools import partial
  >>> from cinn_jax import Subnet, bijections as bj
  >>> subnet = partial(Subnet, widths=(16,), kernels=(3, 3))
  >>> block = bj.Chain((bj.AffineCoupling(subnet), bj.Orthogonal()))
  >>> module = bj.Chain((bj.Haar(), bj.Stack(block, 2)))
  >>> flow = cinn_jax.make_flow(module, event_shape=(8, 8, 1))

Forward is data to latent. Images are [B, H, W, C], log-densities nats per
example, [B]. The functions of a flow may be jitted, differentiated and mapped.

Further names, all imported on first use:

  bijections                   couplings, squeezes, mixings, splits
  Subnet                       the network inside a coupling
  SetNet, SeriesNet, VectorNet summary networks: sets, time series and vectors
                               to conditions
  init_fit, make_update        one training step, for a loop of your own
  rank, render                 samples in order of likelihood; as pictures
  latent                       walks and transfers in latent space
  full_resolution              colours for a photograph at its own size
  normalize_lightness, denormalize_ab
                               the units of colorization
  calibration, calibration_plots
                               ranks, coverage, TARP and C2ST of posteriors
  show, Shown                  pictures in a notebook
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from cinn_jax import bijections
  from cinn_jax.evaluation.latent import moves as latent
  from cinn_jax.evaluation.metrics import calibration, calibration_plots
  from cinn_jax.flow import Flow, make_flow
  from cinn_jax.images import full_resolution
  from cinn_jax.images.notebook import Shown, show
  from cinn_jax.likelihood import StudentT
  from cinn_jax.models.networks.subnets import Subnet
  from cinn_jax.models.networks.summary_nets import SeriesNet, SetNet, VectorNet
  from cinn_jax.models.vector_flow import vector_flow
  from cinn_jax.sampling.draw import rank, render
  from cinn_jax.tasks.colorize import denormalize_ab, normalize_lightness
  from cinn_jax.training.fitting import fit
  from cinn_jax.training.step import init_fit, make_update
  from cinn_jax.workdir.portable import load, save
  from cinn_jax.workdir.trained import restore

__all__ = [
  "Flow",
  "SeriesNet",
  "SetNet",
  "Shown",
  "StudentT",
  "Subnet",
  "VectorNet",
  "bijections",
  "calibration",
  "calibration_plots",
  "denormalize_ab",
  "fit",
  "full_resolution",
  "init_fit",
  "latent",
  "load",
  "make_flow",
  "make_update",
  "normalize_lightness",
  "rank",
  "render",
  "restore",
  "save",
  "show",
  "vector_flow",
]

# The module of each name; and modules that are exported themselves.
_HOMES = {
  "Flow": "flow",
  "SeriesNet": "models.networks.summary_nets",
  "SetNet": "models.networks.summary_nets",
  "Shown": "images.notebook",
  "StudentT": "likelihood",
  "Subnet": "models.networks.subnets",
  "VectorNet": "models.networks.summary_nets",
  "denormalize_ab": "tasks.colorize",
  "fit": "training.fitting",
  "init_fit": "training.step",
  "load": "workdir.portable",
  "make_flow": "flow",
  "make_update": "training.step",
  "normalize_lightness": "tasks.colorize",
  "rank": "sampling.draw",
  "render": "sampling.draw",
  "restore": "workdir.trained",
  "save": "workdir.portable",
  "show": "images.notebook",
  "vector_flow": "models.vector_flow",
}
_MODULES = {
  "bijections": "bijections",
  "calibration": "evaluation.metrics.calibration",
  "calibration_plots": "evaluation.metrics.calibration_plots",
  "full_resolution": "images.full_resolution",
  "latent": "evaluation.latent.moves",
}


def __getattr__(name):
  # `import cinn_jax` costs nothing, and never imports TensorFlow.
  if name in _MODULES:
    return importlib.import_module(f"cinn_jax.{_MODULES[name]}")
  if name not in _HOMES:
    raise AttributeError(f"module 'cinn_jax' has no attribute {name!r}")
  home = importlib.import_module(f"cinn_jax.{_HOMES[name]}")
  return getattr(home, name)


def __dir__():
  return sorted([*globals(), *__all__])
