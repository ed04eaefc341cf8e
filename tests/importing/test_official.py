"""What an official state dict becomes, and what is refused; without torch."""

import sys

import jax
import numpy as np
import pytest

from cinn_jax import experiment
from cinn_jax.importing.official import load_official, to_variables
from configs import colorize, mnist
from tests.importing import layouts


@pytest.mark.parametrize("variant, depth", [("minimal", 20), ("paper", 24)])
def test_published_sizes_fit(variant, depth):
  config = mnist.get_config(variant)
  tensors = {
    key: np.broadcast_to(np.float32(0), shape)
    for key, shape in layouts.shapes(variant, 784, depth, 512).items()
  }
  variables = to_variables(tensors, config)
  expected = experiment.abstract_variables(*experiment.build(config))
  describe = lambda leaf: (leaf.shape, leaf.dtype)  # noqa: E731
  assert jax.tree.map(describe, variables) == jax.tree.map(describe, expected)


def test_permutations_are_numpys_at_the_blocks_number():
  variables = to_variables(
    layouts.tensors("minimal"), layouts.config("minimal")
  )
  [orders] = jax.tree.leaves(variables["constants"])
  for seed, order in enumerate(orders):
    state = np.random.get_state()
    np.random.seed(seed)
    expected = np.random.permutation(25)
    np.random.set_state(state)
    np.testing.assert_array_equal(order, expected)


@pytest.mark.parametrize("variant", layouts.LAYERS)
def test_the_first_key_that_does_not_fit_is_named(variant):
  modules, layers = layouts.LAYERS[variant]
  key = f"{modules}.5.s2.{layers[0]}.weight"
  config, good = layouts.config(variant), layouts.tensors(variant)
  missing = {k: v for k, v in good.items() if k != key}
  with pytest.raises(ValueError, match=f"has no '{key}'"):
    to_variables(missing, config)
  with pytest.raises(ValueError, match=f"'{key}' has shape \\[23, 6\\]"):
    to_variables({**good, key: good[key].T}, config)
  extra = f"{modules}.9.s1.{layers[0]}.weight"
  with pytest.raises(ValueError, match=f"has '{extra}'"):
    to_variables({**good, extra: good[key]}, config)


def test_another_depth_is_refused():
  good = layouts.tensors("minimal")
  with pytest.raises(ValueError, match=r"has 'cinn\.module_list\.7\.s1"):
    to_variables(good, layouts.config("minimal", depth=2))
  with pytest.raises(ValueError, match=r"has no 'cinn\.module_list\.9\.s1"):
    to_variables(good, layouts.config("minimal", depth=4))


def test_the_graphs_leftovers_are_passed_over():
  good = layouts.tensors("minimal")
  leftover = {**good, "cinn.tmp_var_3": np.zeros((2, 25), np.float32)}
  with_it, without = (
    to_variables(tensors, layouts.config("minimal"))
    for tensors in (leftover, good)
  )
  jax.tree.map(np.testing.assert_array_equal, with_it, without)


def test_other_networks_are_refused():
  with pytest.raises(ValueError, match="'haar_colorization' cannot be"):
    to_variables({}, colorize.get_config("lsun"))
  config = layouts.config("minimal")
  config.model.hidden = (6, 6)
  with pytest.raises(ValueError, match=r"1 or 3 hidden layers.* has 2"):
    to_variables({}, config)
  config = layouts.config("minimal")
  config.model.clamp = "freia_2021"
  with pytest.raises(ValueError, match=r"model\.clamp=cinn_code"):
    to_variables({}, config)


def test_without_torch_one_line_says_so(monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(RuntimeError, match="needs torch"):
    load_official("nonesuch.pt", layouts.config("minimal"))
