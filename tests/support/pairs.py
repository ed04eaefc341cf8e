"""Small flows of pairs of images for tests."""

import jax
import numpy as np

from cinn_jax.experiment.build import build_model
from tests.support.drawing import draw_variables

# Settings that are particular to each kind of model.
KINDS = {
  "caflow": {"latent_depths": (2, 1)},
  "caflow_shared": {"latent_depths": (1, 2), "shared": True},
  "dual_glow_plus": {"latent_depth": 2},
  "dual_glow": {"relation_widths": (3,), "relation_kernel": 3},
}


def make(kind, **options):
  """Builds a model of two levels."""
  name = kind.removesuffix("_shared")
  small = {"levels": 2, "depth": 1, "hidden": 4, "transitions": 1}
  if name != "dual_glow":
    small |= {"latent_hidden": 4}
  return build_model(name, **{**small, **KINDS[kind], **options})


def images(seed, shape, dtype=np.float64):
  """Draws images within (0, 1), as dequantized pictures are."""
  values = np.random.default_rng(seed).uniform(0.02, 0.98, shape)
  return values.astype(dtype)


def draw(model, seed, x, cond):
  """Draws variables: no part is the identity, every matrix is invertible."""
  variables = draw_variables(model, seed, x, cond, scale=0.15)

  def add_identity(path, leaf):
    if path[-1].key != "matrix":
      return leaf
    return leaf + np.eye(leaf.shape[-1], dtype=leaf.dtype)

  return jax.tree.map_with_path(add_identity, variables)
