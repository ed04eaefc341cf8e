"""Features of EfficientNet-lite0: the shipped weights, and their converter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
import skimage.transform

from cinn_jax.importing import efficientnet
from cinn_jax.models.networks import features
from cinn_jax.workdir import tensor_file


def _apply(module, *arrays):
  variables = jax.jit(module.init)(jax.random.key(0), *arrays)
  assert set(variables) == {"constants"}
  return jax.jit(module.apply)(variables, *arrays)


def _cat(size=128):
  square = skimage.data.chelsea()[:, 76:376]
  small = skimage.transform.resize(square, (size, size), anti_aliasing=True)
  return jnp.asarray(small[None], jnp.float32)


def test_the_shipped_features_are_those_of_the_original():
  # Means of |feature| of the unfolded float64 network, computed from the
  # original file. As a whole it calls the cat at 224 pixels an Egyptian cat,
  # with a probability of 0.4, or a tiger cat, with 0.33.
  maps = _apply(features.EfficientNetLite0(), _cat())
  assert {s: m.shape for s, m in maps.items()} == {
    4: (1, 32, 32, 24),
    8: (1, 16, 16, 40),
    16: (1, 8, 8, 112),
  }
  means = [float(jnp.abs(maps[s]).mean()) for s in (4, 8, 16)]
  np.testing.assert_allclose(means, (6.80099, 6.05265, 6.36315), rtol=2e-3)


def test_lightness_features_are_those_of_the_grey_picture():
  lightness = jax.random.normal(jax.random.key(0), (1, 64, 64, 1))
  maps = _apply(features.LightnessFeatures(), lightness)
  # A picture of 64 pixels is doubled first.
  assert {rows: m.shape[-1] for rows, m in maps.items()} == {
    32: 24,
    16: 40,
    8: 112,
  }
  black = _apply(features.LightnessFeatures(), jnp.full((1, 128, 128, 1), -9.0))
  plain = _apply(features.EfficientNetLite0(), jnp.zeros((1, 128, 128, 3)))
  np.testing.assert_allclose(black[8], plain[16], atol=1e-4)


def test_folding_equals_convolution_and_batch_norm():
  rng = np.random.default_rng(0)
  tensors = {}

  def put(conv, norm, shape):
    tensors[f"{conv}.weight"] = rng.normal(size=shape)
    for part in ("weight", "bias", "running_mean"):
      tensors[f"{norm}.{part}"] = rng.normal(size=shape[0])
    tensors[f"{norm}.running_var"] = rng.uniform(0.1, 2, shape[0])

  put("_conv_stem", "_bn0", (32, 3, 3, 3))
  put("_blocks.0._depthwise_conv", "_blocks.0._bn1", (32, 1, 3, 3))
  put("_blocks.0._project_conv", "_blocks.0._bn2", (16, 32, 1, 1))
  folded = efficientnet.fold(tensors, blocks=1)
  assert len(folded) == 6
  patch = rng.normal(size=(3, 3, 3))  # rows, columns, channels
  weight = tensors["_conv_stem.weight"]
  plain = np.einsum("ocyx,yxc->o", weight, patch)
  norm = {k: tensors[f"_bn0.{k}"] for k in ("weight", "bias")}
  centred = plain - tensors["_bn0.running_mean"]
  root = np.sqrt(tensors["_bn0.running_var"] + 1e-3)
  wanted = centred / root * norm["weight"] + norm["bias"]
  got = np.einsum("yxco,yxc->o", folded["stem/kernel"], patch)
  np.testing.assert_allclose(got + folded["stem/bias"], wanted, rtol=1e-10)
  assert folded["block_0/depthwise/kernel"].shape == (3, 3, 1, 32)
  del tensors["_conv_stem.weight"]
  with pytest.raises(ValueError, match=r"no '_conv_stem\.weight'"):
    efficientnet.fold(tensors, blocks=1)


def test_files_that_do_not_fit_raise(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"importing\.efficientnet"):
    _apply(features.EfficientNetLite0(str(tmp_path / "none")), _cat(16))
  path = tmp_path / "a.safetensors"
  tensor_file.write(path, {"stem": {"kernel": np.zeros((3, 3, 3, 8))}}, {})
  with pytest.raises(ValueError, match="not for EfficientNet-lite0: stem/kern"):
    _apply(features.EfficientNetLite0(str(path)), _cat(16))
  with pytest.raises(ValueError, match="multiples of 16"):
    _apply(features.EfficientNetLite0(), _cat(24))


def test_no_gradient_passes():
  lightness = jax.random.normal(jax.random.key(0), (1, 128, 128, 1))
  module = features.LightnessFeatures()
  variables = jax.jit(module.init)(jax.random.key(0), lightness)

  def total(lightness):
    maps = module.apply(variables, lightness)
    return sum(jnp.sum(m) for m in jax.tree.leaves(maps))

  assert not np.any(jax.jit(jax.grad(total))(lightness))
