"""Super-resolution: a picture given a smaller one of it."""

from ml_collections import ConfigDict

from cinn_jax.training import recipes

_FILE = "configs/super_resolution.py"
_SETTINGS = {"size": 32, "scale": (4, 8, 2)}


def get_config(argument: str = ""):
  """The experiment; `argument` is such as "cinn,size=64,scale=8"."""
  model, settings = recipes.parse(_FILE, argument, recipes.MODELS, _SETTINGS)
  size, scale = settings["size"], settings["scale"]
  modelled = model in recipes.MODEL_THE_CONDITION
  config = ConfigDict(recipes.base())
  config.update(recipes.recipe(model, size, scale=scale))
  config.task = {
    "name": "super_resolution",
    "image_size": size,
    "scale": scale,
    "condition_size": "target" if modelled else "native",
    "condition_noise": "uniform" if modelled else "half",
  }
  return config
