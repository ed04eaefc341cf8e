"""Colorization as CAFLOW has it: all of RGB given the luma."""

from ml_collections import ConfigDict

from cinn_jax.training import recipes

_FILE = "configs/colorize_rgb.py"
_SETTINGS = {"size": 32}


def get_config(argument: str = ""):
  """The experiment; `argument` is such as "cinn,size=64"."""
  model, settings = recipes.parse(_FILE, argument, recipes.MODELS, _SETTINGS)
  size = settings["size"]
  modelled = model in recipes.MODEL_THE_CONDITION
  config = ConfigDict(recipes.base())
  config.update(recipes.recipe(model, size))
  config.task = {
    "name": "colorize_rgb",
    "image_size": size,
    "condition_channels": 3 if modelled else 1,
    "condition_noise": "uniform" if modelled else "half",
  }
  return config
