"""Checks the parts of `pair_stability.py` that decide what its rows mean."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import pair_programs
import pair_stability
import result_rows


def test_loud_start_has_lecun_variance_for_each_part():
  def layer(inputs):
    return {
      "kernel": jnp.full((2, 3, 3, inputs, 64), 0.5),
      "bias": jnp.ones((2, 64)),
    }

  names = ("layer_0", "condition_0", "condition_1", "layer_1", "layer_2")
  net = dict(zip(names, map(layer, (6, 12, 24, 64, 64)), strict=True))
  params = {"net_1": net, "parts_0": {"bias": jnp.ones((2, 8))}}
  loud = pair_programs.start_loud(jax.random.key(0), params)
  for name in names[:-1]:
    kernel = loud["net_1"][name]["kernel"]
    variance = np.mean(np.sum(np.square(kernel), axis=(1, 2, 3)))
    np.testing.assert_allclose(variance, 1, rtol=0.05)
    assert not np.any(loud["net_1"][name]["bias"])
  unchanged = loud["net_1"]["layer_2"], loud["parts_0"]
  jax.tree.map(
    np.testing.assert_array_equal,
    unchanged,
    (net["layer_2"], params["parts_0"]),
  )


def test_each_cure_is_taken_away_alone():
  assert pair_stability.WITHOUT["nothing"] == ()
  alone = [removed for removed in pair_stability.WITHOUT.values() if removed]
  assert {len(removed) for removed in alone} == {1, len(pair_stability.CURES)}


@pytest.mark.parametrize("model", pair_programs.MODELS)
def test_networks_are_those_of_the_config(model):
  config = pair_programs.config_of(model, 3)
  assert config.model.name == model
  assert config.task.condition_channels == 3
  assert config.task.image_size == pair_programs.SIZE


def test_rows_replace_older_rows_with_their_key(tmp_path):
  path = tmp_path / "results" / "rows.json"
  assert result_rows.read(path) == []
  for row in ({"k": 2, "v": 1}, {"k": 1, "v": 2}, {"k": 2, "v": 3}):
    result_rows.append(path, row, lambda row: row["k"])
  assert result_rows.read(path) == [{"k": 1, "v": 2}, {"k": 2, "v": 3}]
  with pytest.raises(ValueError):
    result_rows.append(path, {"k": 3, "v": np.nan}, lambda row: row["k"])
