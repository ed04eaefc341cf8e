"""Inpainting: a picture given what is left around a hole."""

from ml_collections import ConfigDict

from cinn_jax.training import recipes

_FILE = "configs/inpaint.py"
_SETTINGS = {"size": 32, "mask": ("square", "half", "free_form")}


def get_config(argument: str = ""):
  """The experiment; `argument` is such as "cinn,size=64,mask=free_form"."""
  model, settings = recipes.parse(_FILE, argument, recipes.MODELS, _SETTINGS)
  size = settings["size"]
  modelled = model in recipes.MODEL_THE_CONDITION
  config = ConfigDict(recipes.base())
  config.update(recipes.recipe(model, size))
  config.task = {
    "name": "inpaint",
    "image_size": size,
    "mask": settings["mask"],
    "area": 0.15,
    # CAFLOW has none; free-form holes cannot do without.
    "mask_channel": not modelled or settings["mask"] == "free_form",
    "compose": True,
    "condition_noise": "uniform" if modelled else "half",
  }
  return config
