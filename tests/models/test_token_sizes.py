"""Parameter counts of token flows, by the formula, and their configs."""

import jax
import pytest

from cinn_jax.experiment.build import abstract_variables, build
from configs import colorize, generate


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _layer(d):
  """Returns the parameters of a transformer layer of width d."""
  return 12 * d**2 + 13 * d


def _block(model, numbers, tokens, condition):
  """Returns the parameters of a block, given numbers per token."""
  d = model.width
  steering, steered = numbers, numbers
  if model.kind == "coupling":
    steering, steered = numbers // 2, numbers // 2
  # Data, condition, positions; a last norm; scales and shifts.
  ends = (steering + 1) * d + condition * d + tokens * d
  return model.layers * _layer(d) + ends + 2 * d + (d + 1) * 2 * steered


@pytest.mark.parametrize(
  "configs, variant, total",
  [
    (generate, "tarflow64", 460_155_072),
    (generate, "jet64", 207_177_216),
    (generate, "tarflow", 654_208),
    (generate, "jet", 707_136),
    (colorize, "tarflow", 818_112),
    (colorize, "jet", 897_600),
  ],
)
def test_parameters_are_those_of_the_formula(configs, variant, total):
  config = configs.get_config(variant)
  flow, task = build(config)
  params = abstract_variables(flow, task)["params"]
  model = config.model
  height, width, channels = task.event_shape
  tokens = height * width // model.patch**2
  numbers = channels * model.patch**2
  condition = model.width if model.conditioned else 0
  block = _block(model, numbers, tokens, condition)
  assert _count(params["bijection"]) == model.blocks * block
  if model.conditioned:
    net = params["condition_net"]
    d = model.width
    assert _count(net["trunk"]) == model.condition_layers * _layer(d)
  assert _count(params) == total


def test_published_layers_have_the_published_sizes():
  # Quoted: 453M and 200M parameters.
  assert 8 * 8 * _layer(768) == pytest.approx(453e6, rel=0.01)
  assert 32 * 2 * _layer(512) == pytest.approx(200e6, rel=0.01)


@pytest.mark.parametrize("variant", ["tarflow64", "jet64"])
def test_published_settings(variant):
  model = generate.get_config(variant).model
  published = {
    "tarflow64": (2, 768, 64, 8, 8),
    "jet64": (4, 512, 64, 32, 2),
  }
  names = ("patch", "width", "head_width", "blocks", "layers")
  assert tuple(model[name] for name in names) == published[variant]
  assert model.transform == "none" and not model.rotation
