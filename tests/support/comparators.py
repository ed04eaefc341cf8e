"""Configs of the smallest comparators, on scikit-learn's digits."""

from ml_collections import ConfigDict

from configs import mnist
from tests.support import tiny


def digits(name: str, **train) -> ConfigDict:
  """Returns configs/mnist.py:NAME, shrunk to take seconds.

  Args:
    name: "regression", "cvae" or "cgan".
    train: Settings that override the section `train`.
  """
  config = mnist.get_config(name)
  like = tiny.digits(num_steps=4, eval_every=2, sheet_every=4, log_every=1)
  config.update({"data": like.data, "task": like.task, "train": like.train})
  config.train.update({"batch_size": 32, **train})
  # One resolution without residual blocks compiles fast.
  config.model.update({"widths": (4,), "blocks": 0})
  if name == "cvae":
    config.model.update({"encoder_widths": (4,), "code_channels": (1,)})
  if name == "cgan":
    config.model.update({"code_channels": (1,), "discriminator_widths": (4,)})
  if name != "regression":
    config.model.code = 2
  return config
