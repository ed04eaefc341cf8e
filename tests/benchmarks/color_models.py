"""The flows of `color_comparison.py`, each trained for the same time."""

import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.data.views import Views
from cinn_jax.experiment.build import build
from cinn_jax.flow import Flow
from cinn_jax.tasks import Task
from cinn_jax.training import budget
from configs import colorize

# Cells on a side of each level of the pyramid, and its share of the time.
SHARES = {8: 1 / 3, 16: 1 / 6, 32: 1 / 2}
# Rate of the pyramid's levels.
_RATES = {8: 2e-3, 16: 3e-3, 32: 3e-3}


class Trained(NamedTuple):
  """A flow that was trained for its time.

  Attributes:
    flow: The flow, whose condition includes the features.
    task: The task, on views.
    variables: Averaged parameters, and constants.
    steps: Steps taken; by level for a pyramid, the base first.
  """

  flow: Flow
  task: Task
  variables: dict[str, Any]
  steps: list[int]


def _one_piece(
  rate: float = 3e-3, *, features: bool = False, priors: bool = False
) -> ConfigDict:
  config = colorize.get_config("laptop")
  config.model.features = "efficientnet_lite0" if features else ""
  config.model.learned_priors = priors
  config.optimizer.learning_rate = rate
  return config


def _token_flow() -> ConfigDict:
  config = colorize.get_config("tarflow")
  with config.unlocked():
    config.task.given_features = True
  return config


MODELS: dict[str, Callable[[], ConfigDict]] = {
  "laptop, rate 1e-3": lambda: _one_piece(1e-3),
  "laptop": _one_piece,
  "laptop, features": lambda: _one_piece(features=True),
  "laptop, priors": lambda: _one_piece(priors=True),
  "laptop, both": lambda: _one_piece(features=True, priors=True),
  "token flow": _token_flow,
  "pyramid": lambda: colorize.get_config("pyramid"),
}


def config_of(name: str, *, views: str, seed: int) -> ConfigDict:
  """Returns the config of a model for views of 128 pixels."""
  config = MODELS[name]()
  with config.unlocked():
    config.data.path = views
    config.train.seed = seed
    config.train.batch_size = 16
    config.train.ema_decay = 0.995
    config.task.view_size = 128
  return config


def train(name: str, seconds: float, *, views: str, seed: int) -> Trained:
  """Trains a model for some processor seconds; a pyramid level by level."""
  config = config_of(name, views=views, seed=seed)
  if name != "pyramid":
    flow, variables, curve = budget.train(config, seconds, points=1)
    task = build(budget.for_views(config))[1]
    return Trained(flow, task, variables, [curve[-1].steps])
  parts, steps = [], []
  for level, share in SHARES.items():
    config.model.level = level
    config.optimizer.learning_rate = _RATES[level]
    _, variables, curve = budget.train(config, share * seconds, points=1)
    parts.append(variables)
    steps.append(curve[-1].steps)
  config.model.level = 0
  flow, task = build(budget.for_views(config))
  joined = {
    collection: {k: v for part in parts for k, v in part[collection].items()}
    for collection in parts[0]
  }
  return Trained(flow, task, joined, steps)


def number_of_parameters(trained: Trained) -> int:
  """Returns the number of trained parameters."""
  return sum(leaf.size for leaf in jax.tree.leaves(trained.variables["params"]))


def bits(trained: Trained, views: Views) -> float:
  """Returns the bits/dim of some views."""
  return budget.make_scorer(trained.flow, trained.task)(
    trained.variables, views
  )
