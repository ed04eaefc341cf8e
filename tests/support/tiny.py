"""Configs of the smallest experiments with every part of real ones."""

from ml_collections import ConfigDict

from cinn_jax import bijections as bj
from cinn_jax import models
from configs import color_mnist, colorize, mnist


def get_config(variant: str = "photos") -> ConfigDict:
  """Returns the config of photos, or of digits, which compiles faster."""
  return {"photos": photos, "digits": digits}[variant]()


def photos() -> ConfigDict:
  """Returns configs/colorize.py, shrunk to take seconds."""
  tiny = colorize.get_config()
  tiny.model.update(
    {
      "size": 8,
      "hidden": (4, 4, 4, 8),
      "depths": (1, 2, 2, 1),
      "condition_levels": (((4, 2),), ((4, 2),), ((4, 2),)),
      "condition_vector": 4,
      "condition_pool": 2,
    }
  )
  tiny.task.update({"image_size": 16, "ab_size": 8})
  # Large steps from the start, so that a few are enough.
  tiny.optimizer.update(
    {"learning_rate": 1e-2, "schedule_options": {"warmup_steps": 0}}
  )
  tiny.train.update(
    {
      "num_steps": 4,
      "batch_size": 8,
      "log_every": 2,
      "eval_every": 2,
      "sheet_every": 4,
    }
  )
  return tiny


def digits(**train) -> ConfigDict:
  """Returns configs/mnist.py:digits, shrunk to take seconds."""
  tiny = mnist.get_config("digits")
  tiny.model.update({"depth": 3, "hidden": (32,)})
  tiny.optimizer.update(
    {"learning_rate": 5e-3, "schedule_options": {"warmup_steps": 0}}
  )
  tiny.train.update(
    {
      "num_steps": 150,
      "batch_size": 64,
      "ema_decay": 0.9,
      "log_every": 50,
      "eval_every": 150,
      "sheet_every": 150,
    }
  )
  tiny.train.update(train)
  return tiny


def color_digits(**train) -> ConfigDict:
  """Returns configs/color_mnist.py:digits, shrunk to take seconds."""
  tiny = color_mnist.get_config("digits")
  tiny.model.update({"depth": 2, "hidden": (32,), "conv_hidden": 16})
  tiny.pretrain.update({"epochs": 4})
  tiny.optimizer.update(
    {"learning_rate": 5e-3, "schedule_options": {"warmup_steps": 0}}
  )
  tiny.train.update(
    {
      "num_steps": 320,
      "batch_size": 64,
      "ema_decay": 0.9,
      "log_every": 80,
      "eval_every": 160,
      "sheet_every": 320,
    }
  )
  tiny.train.update(train)
  return tiny


def config(**train) -> ConfigDict:
  """Returns `photos` with `train` overriding its section of that name."""
  tiny = photos()
  tiny.train.update(train)
  return tiny


def with_actnorm(name):
  """Returns a builder of the model `name` that starts with an ActNorm."""
  build = models.BUILDERS[name]

  def build_both(**arguments):
    model = build(**arguments)
    parts = (bj.ActNorm(), model.bijection)
    return models.ConditionalFlow(bj.Chain(parts), model.condition_net)

  return build_both
