"""Configs: their sections, their settings, and their arguments."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import pytest

from cinn_jax.experiment import recipes
from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.experiment.describe import describe

NAMES = ("colorize_rgb", "inpaint", "sketch", "super_resolution")


FILES = sorted(pathlib.Path(__file__).parents[2].glob("configs/*.py"))


# Models that need no test on inpainting; two are for another task.
_ELSEWHERE = ("cinn", "hcflow", "pyramid")


def _config(name, argument="recipe=small"):
  return importlib.import_module(f"configs.{name}").get_config(argument)


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_every_config_has_the_shared_settings(name):
  config = importlib.import_module(f"configs.{name}").get_config()
  assert set(config.data) == set(recipes.DATA)
  assert set(recipes.RUN) <= set(config.train)
  assert set(recipes.MODEL) - {"memory"} <= set(config.model)


@pytest.mark.parametrize(
  "name, model",
  [(name, "cinn") for name in NAMES]
  + [("inpaint", model) for model in recipes.MODELS if model not in _ELSEWHERE]
  + [("super_resolution", "pyramid"), ("super_resolution", "hcflow")],
)
def test_models_fit_their_tasks(name, model):
  flow, task = build(_config(name, f"{model},recipe=small"))
  assert task.event_shape == (32, 32, 3)
  assert abstract_variables(flow, task)["params"]


def test_a_pyramid_enlarges_square_pictures():
  config = _config("super_resolution", "pyramid,size=64,scale=8")
  assert config.model.base_size == 8
  assert len(config.model.depths) == 3
  with pytest.raises(ValueError, match="square pictures, got"):
    _config("super_resolution", "pyramid,size=32x64")
  with pytest.raises(ValueError, match="pyramid is for super-resolution"):
    _config("inpaint", "pyramid")


@pytest.mark.parametrize("scale, total", [(4, 23_224_997), (8, 27_005_689)])
def test_hcflow_has_the_published_size_and_recipe(scale, total):
  config = _config("super_resolution", f"hcflow,size=64,scale={scale}")
  flow, task = build(config)
  params = abstract_variables(flow, task)["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == total
  # The published bounds of the gradient are for a loss in bits per pixel.
  unit = jnp.log(2) / 3
  assert config.optimizer.clip_value == pytest.approx(5 * unit)
  assert config.optimizer.clip_norm == pytest.approx(100 * unit)
  with pytest.raises(ValueError, match="hcflow is for super-resolution"):
    _config("inpaint", "hcflow")


def test_describe_names_the_task():
  text = describe(_config("inpaint", "size=8x16,recipe=small"))
  assert "RGB at 8x16 in [0, 1) given it with a hole" in text


@pytest.mark.parametrize("size", [32, 64])
def test_caflow_has_the_published_size_unless_small(size):
  configs = [_config(name, f"caflow,size={size}") for name in NAMES]
  for config in configs:
    if "condition_channels" in config.task:
      # One channel is our default; the flag is for task and model.
      assert config.model.condition_channels == 1
      config.task.condition_channels = 3
    assert config.model.to_dict() == configs[0].model.to_dict()
    assert config.optimizer == configs[0].optimizer
    assert build(config)[1].cond_shape == (size, size, 3)
  flow, task = build(configs[0])
  params = abstract_variables(flow, task)["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 35_229_968


def test_published_recipe_of_pair_flows():
  config = _config("super_resolution", "caflow,size=64")
  assert config.optimizer.eps == pytest.approx(1e-8 * 64 * 64 * 3)
  assert config.optimizer.schedule_options.warmup_steps == 500
  assert (config.train.batch_size, config.train.init_batch_size) == (8, 256)
  wide = _config("super_resolution", "caflow,size=32x64")
  assert wide.optimizer.eps == config.optimizer.eps / 2
  small = _config("super_resolution", "caflow,size=64,recipe=small")
  assert small.model.levels == 3 and small.train.batch_size == 32
  assert "eps" not in small.optimizer


@pytest.mark.parametrize("name", NAMES)
def test_config_alone_is_the_laptops(name):
  module = importlib.import_module(f"configs.{name}")
  assert module.get_config() == _config(name, "cinn,recipe=small")


def test_arguments_set_size_scale_and_mask():
  config = _config("super_resolution", "cinn, scale=8 ,size=64x48")
  assert config.task.image_size == (64, 48) and config.task.scale == 8
  assert build(config)[1].cond_shape == (8, 6, 3)
  assert _config("inpaint", "mask=free_form").task.mask == "free_form"
  # CAFLOW has a mask channel only for free-form holes.
  channels = [
    build(_config("inpaint", f"caflow,mask={mask}"))[1].cond_shape[-1]
    for mask in ("square", "free_form")
  ]
  assert channels == [3, 4]


@pytest.mark.parametrize("model", ["rrdb", "esrgan"])
def test_a_whole_network_is_not_frozen(model):
  with pytest.raises(ValueError, match="no condition network of its own"):
    _config("super_resolution", f"{model},condition_net=frozen")


def test_condition_net_can_be_frozen_or_left_out():
  frozen = _config("sketch", "condition_net=frozen").optimizer
  assert frozen.groups.condition_net.frozen_steps == -1
  frozen = _config("sketch", "caflow,condition_net=frozen").optimizer
  assert frozen.groups.condition_flow.frozen_steps == -1
  assert _config("sketch", "condition_net=none").model.condition_net is False
  with pytest.raises(ValueError, match="cannot do without its condition_flow"):
    _config("sketch", "caflow,condition_net=none")
  groups = _config("super_resolution", "cgan,condition_net=frozen")
  assert set(groups.optimizer.groups) == {"condition_net", "discriminator"}
  for choice in ("frozen", "none"):
    with pytest.raises(ValueError, match=r"^pyramid (has no|cannot)"):
      _config("super_resolution", f"pyramid,condition_net={choice}")


@pytest.mark.parametrize(
  "argument, complaint",
  [
    ("moon", "has no model 'moon'; there are cinn, caflow, dual_glow_plus"),
    ("cinn,sise=3", "no setting 'sise=3'; it takes a model first"),
    ("cinn,64", "no setting '64'; it takes a model first"),
    ("size=big", "size must be a whole number, got 'big'"),
    ("size=3x", "size must be a whole number, got '3x'"),
    ("scale=3", "scale must be one of 4, 8, 2, got '3'"),
  ],
)
def test_bad_arguments_raise_one_line(argument, complaint):
  with pytest.raises(ValueError) as error:
    _config("super_resolution", argument)
  assert complaint in str(error.value) and "\n" not in str(error.value)
