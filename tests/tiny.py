"""The smallest colorization experiment that has every part of a real one."""

import contextlib
import os

import jax
from jax.experimental.compilation_cache import compilation_cache
from ml_collections import ConfigDict

from configs import colorize

_COMPILATION = {
  "jax_disable_most_optimizations": True,
  "jax_persistent_cache_min_compile_time_secs": 0,
  "jax_persistent_cache_min_entry_size_bytes": -1,
}


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


@contextlib.contextmanager
def quick_compilation(cache):
  """Compiles with little effort, and the same program only once per `cache`.

  Compiling is most of a tiny run's time. Processes that are started inside do
  the same.
  """
  options = {**_COMPILATION, "jax_compilation_cache_dir": str(cache)}
  before = {name: jax.config.values[name] for name in options}
  environment = dict(os.environ)
  os.environ.update({name.upper(): str(v) for name, v in options.items()})
  _configure(options)
  try:
    yield
  finally:
    _configure(before)
    os.environ.clear()
    os.environ.update(environment)


def _configure(options):
  for name, value in options.items():
    jax.config.update(name, value)
  # Whether there is a cache is remembered from the first compilation on.
  compilation_cache.reset_cache()
