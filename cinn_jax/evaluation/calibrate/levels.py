"""One level of a wavelet flow, to sample it alone."""

import math
from collections.abc import Sequence

from cinn_jax.evaluation.calibrate import draws
from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.workdir.trained import Trained


def of_level(trained: Trained, level: int) -> draws.Subject:
  """Returns one level of a wavelet flow, with its own part of the variables.

  The details of other levels are 0, so means of regions are those of the base.

  Raises:
    ValueError: for a run of another model, or one without this level.
  """
  model = trained.config["model"]
  if model.get("level", level) not in (0, level) or "level" not in model:
    raise ValueError(
      f"--level={level} is for a wavelet flow with that level, not for"
      f" {model['name']}: leave it out."
    )
  config = {**trained.config, "model": {**model, "level": level}}
  flow, task = build(config)
  variables = {
    kind: {name: trained.variables[kind][name] for name in tree}
    for kind, tree in abstract_variables(flow, task).items()
  }
  return draws.make_subject(flow, variables, task)


def scale_of(
  temperature: float | Sequence[float], trained: Trained, level: int
) -> float:
  """Returns the temperature of a level; a list starts with the finest."""
  if not isinstance(temperature, Sequence):
    return temperature
  model = trained.config["model"]
  if model["level"]:
    return temperature[0]
  return temperature[round(math.log2(model["size"] / level))]
