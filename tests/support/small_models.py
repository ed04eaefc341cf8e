"""A small model of every kind, by the name of its builder."""

from typing import Any, NamedTuple

from cinn_jax.bijections import Bijection
from cinn_jax.experiment.build import build_model
from cinn_jax.models.vector_flow import vector_flow
from tests.support.pyramids import SMALL as SMALL_PYRAMID


class Small(NamedTuple):
  """Settings of a small model, and the shapes of one x and one condition."""

  settings: dict[str, Any]
  x: tuple[int, ...]
  cond: tuple[int, ...]


_PAIR = {"levels": 2, "depth": 2, "hidden": 4, "transitions": 0}
_LATENT = {"latent_hidden": 4, "latent_transitions": 0}
SMALL = {
  "caflow": Small(
    {**_PAIR, **_LATENT, "latent_depths": (1, 1)}, x=(8, 8, 3), cond=(8, 8, 3)
  ),
  "color_mnist": Small(
    {
      "size": 8,
      "conv_depth": 2,
      "depth": 2,
      "hidden": (4,),
      "convolutions": ((4,),),
      "classifier_hidden": (4,),
    },
    x=(8, 8, 3),
    cond=(8, 8, 1),
  ),
  "conditional_glow": Small(
    {
      "levels": 1,
      "depth": 1,
      "hidden": 4,
      "head": 4,
      "condition_channels": (4,),
    },
    x=(4, 4, 3),
    cond=(4, 4, 1),
  ),
  "dense_cinn": Small(
    {"size": 4, "depth": 2, "hidden": (4,)}, x=(4, 4, 1), cond=(10,)
  ),
  "dual_glow": Small(_PAIR, x=(8, 8, 3), cond=(8, 8, 3)),
  "dual_glow_plus": Small(
    {**_PAIR, **_LATENT, "latent_depth": 1}, x=(8, 8, 3), cond=(8, 8, 3)
  ),
  "glow": Small(
    {"levels": 2, "depth": 2, "hidden": 4, "dequantization_depth": 1},
    x=(8, 8, 3),
    cond=(10,),
  ),
  "haar_colorization": Small(
    {
      "size": 8,
      "hidden": (4, 4, 4, 8),
      "condition_levels": (((4, 1),), ((4, 2),), ((4, 2),)),
      "condition_vector": 4,
      "condition_pool": 2,
    },
    x=(8, 8, 2),
    cond=(8, 8, 1),
  ),
  "hcflow": Small(
    {
      "levels": 2,
      "depth": 2,
      "detail_depth": 2,
      "hidden": 4,
      "blocks": 1,
      "encoder_width": 4,
      "encoder_growth": 4,
    },
    x=(8, 8, 3),
    cond=(2, 2, 3),
  ),
  "image_cinn": Small(
    {"hidden": (4, 4), "depths": (2, 2), "condition_channels": (4, 4)},
    x=(8, 8, 3),
    cond=(8, 8, 1),
  ),
  "imagenet_colorization": Small(
    {"width": 8}, x=(64, 64, 2), cond=(256, 256, 1)
  ),
  "realnvp": Small(
    {"levels": 1, "hidden": 4, "blocks": 1}, x=(4, 4, 3), cond=(10,)
  ),
  "srflow": Small(
    {
      "levels": 2,
      "depth": 2,
      "hidden": 4,
      "blocks": 1,
      "taps": (0,),
      "encoder_width": 4,
      "encoder_growth": 4,
    },
    x=(8, 8, 3),
    cond=(4, 4, 3),
  ),
  "token_flow": Small(
    {"size": 4, "patch": 2, "width": 4, "head_width": 2, "layers": 1},
    x=(4, 4, 2),
    cond=(8, 8, 1),
  ),
  "wavelet_flow": Small(SMALL_PYRAMID, x=(8, 8, 2), cond=(16, 16, 1)),
  "vector_flow": Small(
    {"dim": 4, "blocks": 2, "hidden": (4,)}, x=(4,), cond=(3,)
  ),
}


def build(name: str, **options: Any) -> Bijection:
  """Builds the small model called `name`, with other settings if given."""
  settings = {**SMALL[name].settings, **options}
  if name == "vector_flow":
    return vector_flow(**settings)
  return build_model(name, **settings)
