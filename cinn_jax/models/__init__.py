"""Published models, one file each, and the networks they are made of."""

from cinn_jax.models import (
  color_mnist,
  conditional_glow,
  dense_cinn,
  glow,
  haar_colorization,
  image_cinn,
  imagenet_colorization,
  realnvp,
  srflow,
)
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.pairs import caflow, dual_glow

__all__ = ["BUILDERS", "ConditionalFlow"]

# What a config may name in `model.name`, with its arguments beside it.
BUILDERS = {
  "caflow": caflow.caflow,
  "color_mnist": color_mnist.color_mnist,
  "conditional_glow": conditional_glow.conditional_glow,
  "dense_cinn": dense_cinn.dense_cinn,
  "dual_glow": dual_glow.dual_glow,
  "dual_glow_plus": dual_glow.dual_glow_plus,
  "glow": glow.glow,
  "haar_colorization": haar_colorization.haar_colorization,
  "image_cinn": image_cinn.image_cinn,
  "imagenet_colorization": imagenet_colorization.imagenet_colorization,
  "realnvp": realnvp.realnvp,
  "srflow": srflow.srflow,
}
