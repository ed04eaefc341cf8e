"""Checks the import of official state dicts; does not need torch."""

import math
import subprocess
import sys

import jax
import numpy as np
import pytest

from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.importing.official import load_official, to_variables
from configs import colorize, mnist
from tests.support import official_colorization, official_layouts

COLORIZATION = {
  "lsun": (official_colorization.lsun, 11_010_760),
  "imagenet": (official_colorization.imagenet, 88_949_693),
}


def _colorization_config(variant):
  config = colorize.get_config(variant)
  if variant == "imagenet":
    config.model.norm = "batch"
  return config


def _assert_fits(variables, config):
  expected = abstract_variables(*build(config))
  describe = lambda leaf: (leaf.shape, leaf.dtype)  # noqa: E731
  assert jax.tree.map(describe, variables) == jax.tree.map(describe, expected)


@pytest.mark.parametrize("variant, depth", [("minimal", 20), ("paper", 24)])
def test_published_sizes_fit(variant, depth):
  config = mnist.get_config(variant)
  tensors = official_colorization.blank(
    official_layouts.shapes(variant, 784, depth, 512)
  )
  _assert_fits(to_variables(tensors, config), config)


@pytest.mark.parametrize("variant", COLORIZATION)
def test_published_colorization_sizes_fit(variant):
  layout, trained = COLORIZATION[variant]
  shapes, config = layout(), _colorization_config(variant)
  variables = to_variables(official_colorization.blank(shapes), config)
  _assert_fits(variables, config)
  sizes = [
    math.prod(shape)
    for key, shape in shapes.items()
    if official_colorization.is_trained(key)
  ]
  assert sum(sizes) == trained
  CHECK_SEEDS[variant](variables["constants"]["bijection"])


def _check_lsun_seeds(flow):
  """Checks that seeds restart in every part."""
  for stage, part in (("stages_0", "parts_2"), ("stages_1", "parts_1")):
    block = flow[stage][part]["bijection"]["block"]
    _assert_seeded(block["parts_1"]["order"], (0, 2), 8)
    _assert_seeded(block["parts_3"]["order"], (1, 3), 8)
  block = flow["stages_2"]["parts_1"]["bijection"]["block"]
  _assert_seeded(block["parts_1"]["order"], range(4), 1024)


def _check_imagenet_seeds(flow):
  block = flow["stages_3"]["parts_1"]["bijection"]["block"]
  _assert_seeded(block["parts_0"]["order"], range(8), 512)


CHECK_SEEDS = {"lsun": _check_lsun_seeds, "imagenet": _check_imagenet_seeds}


def _assert_seeded(orders, seeds, channels):
  assert len(orders) == len(seeds)
  for order, seed in zip(orders, seeds, strict=True):
    state = np.random.get_state()
    np.random.seed(seed)
    expected = np.random.permutation(channels)
    np.random.set_state(state)
    np.testing.assert_array_equal(order, expected)


def test_permutations_use_the_block_number_as_seed():
  variables = to_variables(
    official_layouts.tensors("minimal"), official_layouts.config("minimal")
  )
  blocks = variables["constants"]["bijection"]["parts_1"]["block"]
  orders = [blocks[f"{k}"]["parts_0"]["order"] for k in range(3)]
  _assert_seeded(orders, range(3), 25)


def test_stacked_blocks_have_the_same_values():
  config = official_layouts.config("minimal")
  tensors = official_layouts.tensors("minimal")
  one_by_one = to_variables(tensors, config)
  config.model.scanned = True
  stacked = to_variables(tensors, config)
  for name, tree in stacked.items():
    blocks = one_by_one[name]["bijection"]["parts_1"]["block"]
    jax.tree.map(
      lambda leaf, *leaves: np.testing.assert_array_equal(leaf, leaves),
      tree["bijection"]["parts_1"]["block"],
      *(blocks[f"{k}"] for k in range(3)),
    )


@pytest.mark.parametrize("variant", official_layouts.LAYERS)
def test_first_key_that_does_not_fit_is_named(variant):
  modules, layers = official_layouts.LAYERS[variant]
  key = f"{modules}.5.s2.{layers[0]}.weight"
  config = official_layouts.config(variant)
  good = official_layouts.tensors(variant)
  missing = {k: v for k, v in good.items() if k != key}
  with pytest.raises(ValueError, match=f"has no '{key}'"):
    to_variables(missing, config)
  with pytest.raises(ValueError, match=f"'{key}' has shape \\[23, 6\\]"):
    to_variables({**good, key: good[key].T}, config)
  extra = f"{modules}.9.s1.{layers[0]}.weight"
  with pytest.raises(ValueError, match=f"has '{extra}'"):
    to_variables({**good, extra: good[key]}, config)


def test_another_depth_is_refused():
  good = official_layouts.tensors("minimal")
  with pytest.raises(ValueError, match=r"has 'cinn\.module_list\.7\.s1"):
    to_variables(good, official_layouts.config("minimal", depth=2))
  with pytest.raises(ValueError, match=r"has no 'cinn\.module_list\.9\.s1"):
    to_variables(good, official_layouts.config("minimal", depth=4))


def test_buffers_of_the_graph_are_ignored():
  good = official_layouts.tensors("minimal")
  leftover = {**good, "cinn.tmp_var_3": np.zeros((2, 25), np.float32)}
  with_it, without = (
    to_variables(tensors, official_layouts.config("minimal"))
    for tensors in (leftover, good)
  )
  jax.tree.map(np.testing.assert_array_equal, with_it, without)


@pytest.mark.parametrize("variant", COLORIZATION)
def test_bad_colorization_files_are_refused(variant):
  good = official_colorization.blank(COLORIZATION[variant][0]())
  config = _colorization_config(variant)
  first, *_, last = good
  missing = {k: v for k, v in good.items() if k != first}
  with pytest.raises(ValueError, match=f"has no '{first}'"):
    to_variables(missing, config)
  with pytest.raises(ValueError, match=f"'{last}' has shape \\[7, 7, 7\\]"):
    to_variables({**good, last: np.zeros((7, 7, 7))}, config)
  prefix = first.rpartition("module_list.")[0]
  extra = f"{prefix}module_list.99.s1.0.weight"
  # Leftover batches are fine, and so are norms from before they had counters.
  allowed = {k: v for k, v in good.items() if "num_batches" not in k}
  allowed[f"{prefix}tmp_var_0"] = good[first]
  with pytest.raises(ValueError, match=f"has '{extra}'"):
    to_variables({**allowed, extra: good[first]}, config)


def test_matrix_that_is_not_orthogonal_is_refused():
  good = official_colorization.blank(official_colorization.imagenet())
  key = "module.inn.module_list.29.M"
  with pytest.raises(ValueError, match=f"'{key}' is not orthogonal.* by 3"):
    to_variables({**good, key: 2 * good[key]}, _colorization_config("imagenet"))


def test_other_networks_are_refused():
  config = colorize.get_config("lsun")
  config.model.name = "color_circle"
  with pytest.raises(ValueError, match="'color_circle' cannot be"):
    to_variables({}, config)
  with pytest.raises(ValueError, match=r"pass --config\.model\.norm=batch, or"):
    to_variables({}, colorize.get_config("imagenet"))
  with pytest.raises(ValueError, match=r"colorize\.py:lsun.*order=channel"):
    to_variables({}, colorize.get_config("laptop"))
  config = official_layouts.config("minimal")
  config.model.hidden = (6, 6)
  with pytest.raises(ValueError, match=r"1 or 3 hidden layers.* has 2"):
    to_variables({}, config)
  config = official_layouts.config("minimal")
  config.model.clamp = "freia_2021"
  with pytest.raises(ValueError, match=r"model\.clamp=cinn_code"):
    to_variables({}, config)


@pytest.mark.parametrize(
  "config, reason",
  [
    ("configs/nonesuch.py", "No such file or directory: 'configs/nonesuch.py'"),
    ("configs/mnist.py:nonesuch", "no variant 'nonesuch'; there are minimal"),
  ],
)
def test_bad_config_is_a_one_line_error(config, reason, tmp_path):
  result = subprocess.run(
    [
      sys.executable,
      "-m",
      "cinn_jax.importing",
      f"--config={config}",
      "--checkpoint=official.pt",
      f"--workdir={tmp_path / 'run'}",
    ],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 1
  [line] = result.stderr.strip().splitlines()
  assert line.startswith("Error: ") and reason in line


def test_missing_torch_raises(monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(RuntimeError, match="needs torch"):
    load_official("nonesuch.pt", official_layouts.config("minimal"))


def test_a_variable_without_a_value_is_named():
  config = colorize.get_config("lsun")
  config.model.learned_priors = True
  good = official_colorization.blank(official_colorization.lsun())
  with pytest.raises(ValueError, match=r"has 'params/.*, but the published"):
    to_variables(good, config)
