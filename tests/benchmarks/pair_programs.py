"""Compiled programs for `pair_stability.py`, with and without the cures."""

import functools
import math
import pathlib
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

# For `configs`.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from cinn_jax.experiment.build import build
from cinn_jax.training import phases
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import State, init_state
from configs import colorize_rgb

MODELS = ("dual_glow_plus", "caflow")
SIZE = 64
# Number of steps that are compiled as one loop.
_CHUNK = 25


def config_of(model, channels, far=0.0):
  config = colorize_rgb.get_config(f"{model},size={SIZE}")
  config.task.condition_channels = channels
  config.model.far = far
  return config


def key_for(seed):
  """Returns a key of the generator that compiles fastest."""
  return jax.random.key(seed, impl="rbg")


class Setting(NamedTuple):
  """Settings for which a program is compiled.

  Attributes:
    channels: Number of the condition's channels.
    init_batch_size: Pictures from which ActNorm starts.
  """

  channels: int
  init_batch_size: int


class Programs:
  """The compiled programs of one model, for runs of any seed.

  They are compiled in parallel; a run waits only for those that it needs.

  Args:
    model: One of `MODELS`.
    without: The sets of cures that runs leave out.
    options: The command's flags.
    far: The models' setting of this name.
  """

  def __init__(
    self,
    model: str,
    without: set[tuple[str, ...]],
    options: Any,
    far: float,
  ):
    self.model, self.far = model, far
    self.configs = {n: config_of(model, n, far) for n in (1, 3)}
    self.built = {k: build(config) for k, config in self.configs.items()}
    self.length = math.gcd(options.steps, _CHUNK)
    self._pool = ThreadPoolExecutor(4)
    self._programs: dict[Any, Future] = {}
    for removed in sorted(without):
      setting = self.setting(removed)
      for key, make in (
        (("step", setting.channels), self._compiled_steps),
        (("init", setting), self._compiled_init),
      ):
        if key not in self._programs:
          self._programs[key] = self._pool.submit(make, key[1])

  def setting(self, removed: tuple[str, ...]) -> Setting:
    config = self.configs[3 if "channels" in removed else 1]
    return Setting(
      config.task.condition_channels,
      config.train.batch_size
      if "init" in removed
      else config.train.init_batch_size,
    )

  def init(self, setting: Setting) -> Callable[..., State]:
    """Returns the compiled `(rng, batch) -> state`."""
    return self._programs["init", setting].result()

  def steps(self, channels: int) -> Callable[..., tuple[State, Any]]:
    """Returns the compiled `(state, seed, eps, images) -> (state, metrics)`."""
    return self._programs["step", channels].result()

  def _optimizer(self, config, **changes):
    options = {**phases.optimizer_options(config), **changes}
    return make_optimizer(num_steps=config.train.num_steps, **options)

  def _make_state(self, channels, rng, batch):
    config = self.configs[channels]
    return init_state(
      rng,
      *self.built[channels],
      self._optimizer(config),
      batch,
      averaged=False,
      batch_size=config.train.batch_size,
    )

  def _compiled_init(self, setting):
    shape = (setting.init_batch_size, SIZE, SIZE, 3)
    make = functools.partial(self._make_state, setting.channels)
    return self._compile(
      f"start of {setting.init_batch_size} pictures",
      jax.jit(make),
      jax.eval_shape(lambda: key_for(0)),
      {"image": jax.ShapeDtypeStruct(shape, jnp.uint8)},
    )

  def _compiled_steps(self, channels):
    config = self.configs[channels]
    flow, task = self.built[channels]

    def run(state, seed, eps, images):
      optimizer = self._optimizer(config, eps=eps)
      step = make_train_step(flow, task, optimizer, seed=seed, ema_decay=0.0)
      return jax.lax.scan(
        lambda state, image: step(state, {"image": image}), state, images
      )

    make = functools.partial(self._make_state, channels, batch=None)
    state = jax.eval_shape(lambda: make(key_for(0)))
    shape = (self.length, config.train.batch_size, SIZE, SIZE, 3)
    return self._compile(
      f"steps for {channels} channels",
      jax.jit(run, donate_argnums=0),
      state,
      jax.ShapeDtypeStruct((), jnp.uint32),
      jax.ShapeDtypeStruct((), jnp.float32),
      jax.ShapeDtypeStruct(shape, jnp.uint8),
    )

  def _compile(self, name, jitted, *shapes):
    start = time.perf_counter()
    lowered = jitted.lower(*shapes)
    traced, processor = time.perf_counter(), time.process_time()
    program = lowered.compile()
    end, processor = time.perf_counter(), time.process_time() - processor
    memory = program.memory_analysis().temp_size_in_bytes
    print(
      f"{self.model}: {name}: lowered in {traced - start:.1f} s, compiled in"
      f" {end - traced:.1f} s (processor, with what else is compiled:"
      f" {processor:.1f} s), {memory / 1e9:.2f} GB of temporary memory",
      flush=True,
    )
    return program


@jax.jit
def start_loud(rng, params):
  """Draws hidden layers as in earlier versions: LeCun's start for each part.

  The networks' last layers start at 0, so nothing else depends on these yet.
  """
  lecun = nn.initializers.variance_scaling(
    1.0, "fan_in", "truncated_normal", batch_axis=0
  )

  def draw(path, leaf):
    layer = path[-2].key if len(path) > 1 else ""
    if not layer.startswith(("layer_0", "layer_1", "condition_")):
      return leaf
    if path[-1].key == "bias":
      return jnp.zeros_like(leaf)
    name = jax.tree_util.keystr(path)
    key = jax.random.fold_in(rng, zlib.crc32(name.encode()))
    # The first axis is that of the steps.
    return lecun(key, leaf.shape, leaf.dtype)

  return jax.tree.map_with_path(draw, params)
