"""The published start of each model's subnets, by name.

tests/models/networks/test_subnets.py measures the variance of each start.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from cinn_jax.experiment.build import build_model
from cinn_jax.models.networks.subnets import Subnet

UNIFORM, LECUN = "uniform", "LeCun's"
PICTURE, VECTOR = (1, 16, 16, 3), (1, 5)
PAIR = {"levels": 2, "depth": 1, "hidden": 8}
GLOW = {"levels": 2, "depth": 1, "hidden": 8}
FEATURES = {"condition_channels": (8, 8)}
ENCODER = {"blocks": 1, "taps": (0,), "encoder_width": 8, "encoder_growth": 8}
MODELS = {
  "caflow": (PAIR, PICTURE, UNIFORM),
  "dual_glow_plus": (PAIR, PICTURE, UNIFORM),
  "dual_glow": ({**PAIR, "relation_widths": (8,)}, PICTURE, UNIFORM),
  "conditional_glow": ({**GLOW, **FEATURES, "head": 8}, PICTURE, LECUN),
  "glow": ({**GLOW, "condition": "couplings"}, VECTOR, LECUN),
  "image_cinn": (
    {"hidden": (8, 8), "depths": (1, 1), **FEATURES, "injector": True},
    PICTURE,
    LECUN,
  ),
  "realnvp": ({"levels": 1, "hidden": 8, "blocks": 1}, VECTOR, LECUN),
  "srflow": ({**GLOW, **ENCODER}, PICTURE, LECUN),
  "hcflow": (
    {"levels": 2, "depth": 1, "detail_depth": 1, "hidden": 8, "blocks": 1},
    (1, 4, 4, 3),
    LECUN,
  ),
  "dense_cinn": ({"size": 16, "depth": 1, "hidden": (8,)}, VECTOR, 0.01),
  "haar_colorization": ({"size": 16}, (1, 16, 16, 1), 0.02),
  "color_mnist": ({"size": 16}, (1, 16, 16, 1), 0.03),
}
CHANNELS = {"dense_cinn": 1, "haar_colorization": 2}


@pytest.mark.parametrize("name", MODELS)
def test_subnets_start_as_published(name):
  settings, cond_shape, expected = MODELS[name]
  model = build_model(name, **settings)
  x = jnp.zeros((1, 16, 16, CHANNELS.get(name, 3)))
  starts = set()

  def record(method, args, kwargs, context):
    subnet = context.module
    if isinstance(subnet, Subnet) and (subnet.widths or not subnet.zero_last):
      start = UNIFORM if subnet.uniform_init else subnet.init_std
      starts.add(LECUN if start is None else start)
    return method(*args, **kwargs)

  with nn.intercept_methods(record):
    jax.eval_shape(model.init, jax.random.key(0), x, jnp.zeros(cond_shape))
  assert starts == {expected}
