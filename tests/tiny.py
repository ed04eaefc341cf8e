"""The smallest colorization experiment that has every part of a real one."""

from ml_collections import ConfigDict

from configs import colorize


def get_config() -> ConfigDict:
  """configs/colorize.py, shrunk to seconds."""
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
  # Large steps at once, so that a few of them show.
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


def config(**train) -> ConfigDict:
  """`get_config`; `train` overrides its section."""
  tiny = get_config()
  tiny.train.update(train)
  return tiny
