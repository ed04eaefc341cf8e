"""Super-resolution: a picture given a smaller one of it.

python -m cinn_jax.main --config=configs/super_resolution.py
"""

from ml_collections import ConfigDict

from cinn_jax.training import recipes

_MODELS = ("cinn",)
_SETTINGS = {"size": 32, "scale": (4, 8, 2)}


def get_config(argument: str = ""):
  """The experiment; `argument` is such as "cinn,size=64,scale=8"."""
  model, settings = recipes.parse(
    "configs/super_resolution.py", argument, _MODELS, _SETTINGS
  )
  size, scale = settings["size"], settings["scale"]
  config = ConfigDict(recipes.base())
  config.update(recipes.image_cinn(size, scale))
  config.task = {
    "name": "super_resolution",
    "image_size": size,
    "scale": scale,
    "condition_size": "native",
    "condition_noise": "half",
  }
  return config
