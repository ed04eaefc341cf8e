"""`--mode=preflight`: compiles a training step for devices not at hand.

It says whether the step fits, what it costs and what to change, before anyone
pays for the machines. What is compiled is the step that `--mode=train` runs
there, with its sharding.
"""

import math
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import connection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from cinn_jax.data.base import PICTURES
from cinn_jax.experiment.build import build
from cinn_jax.runtime import sharding, slices, target
from cinn_jax.runtime.flops import jaxpr_flops
from cinn_jax.tasks import Task
from cinn_jax.training import phases, setup
from cinn_jax.training.optimizer import make_optimizer

_COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4}
_BYTES |= {"bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s8": 1, "u8": 1, "pred": 1}


class Preflight(NamedTuple):
  """The cost of a compiled training step; bytes and FLOPs are per device.

  Attributes:
    arguments: Bytes of state and batch.
    temporaries: Bytes of activations and gradients.
    outputs: Bytes of results that do not take the arguments' place.
    program: Bytes of the program.
    flops: FLOPs of matrix products and convolutions, loops unrolled; None if
      this version of JAX cannot be read.
    collectives: Kind to (number in the program, bytes of their results).
    does_not_fit: The compiler's reason for giving up, or "".
    seconds: Seconds of compilation.
  """

  arguments: int
  temporaries: int
  outputs: int
  program: int
  flops: float | None
  collectives: dict[str, tuple[int, int]]
  does_not_fit: str
  seconds: float

  @property
  def total(self) -> int:
    return self.arguments + self.temporaries + self.outputs + self.program

  def fits(self, chip: slices.Chip | None) -> bool:
    """Returns whether it fits into a chip; into a CPU it always does."""
    too_large = chip is not None and self.total > chip.memory
    return not self.does_not_fit and not too_large


def preflight(
  config: ConfigDict, devices: str, *, limit: float, say: Callable = print
) -> Preflight:
  """Compiles a config's training step in a process of its own.

  Args:
    config: The config.
    devices: A name for `slices.parse`.
    limit: Seconds after which it gives up.
    say: Is called with each stage.

  Raises:
    ValueError: if the devices, the compiler or the config do not fit together.
    TimeoutError: after `limit` seconds; it names what was waited for.
  """
  named = slices.parse(devices)
  before = dict(os.environ)
  os.environ.update(named.environment())
  here, there = multiprocessing.Pipe(duplex=False)
  process = multiprocessing.get_context("spawn").Process(
    target=_work, args=(config, named, there), daemon=True
  )
  try:
    process.start()
  finally:
    os.environ.clear()
    os.environ.update(before)
  there.close()
  stage, end = "the process to start", time.monotonic() + limit
  try:
    while here.poll(max(0, end - time.monotonic())):
      kind, content = here.recv()
      if kind == "done":
        return content
      if kind == "error":
        raise ValueError(content)
      stage = content
      say(f"Waiting for {stage}.")
  except EOFError:
    process.join()
    raise ValueError(
      f"The compiler ended with code {process.exitcode} while waiting for"
      f" {stage}."
    ) from None
  finally:
    process.kill()
  raise TimeoutError(
    f"--mode=preflight gave up after {limit:g} s of waiting for {stage}:"
    " --limit allows more."
  )


def _work(config, named, pipe):
  threading.Thread(target=_end_with_parent, daemon=True).start()

  def say(stage):
    pipe.send(("stage", stage))

  try:
    pipe.send(("done", compile_step(config, named, say)))
  except (ValueError, OSError, RuntimeError) as error:
    pipe.send(("error", " ".join(str(error).split())))


def _end_with_parent():
  """Ends this process once its parent was killed; others wait for libtpu."""
  parent = multiprocessing.parent_process()
  assert parent is not None
  connection.wait([parent.sentinel])
  os._exit(1)


def compile_step(
  config: ConfigDict, named: slices.Slice, say: Callable[[str], None]
) -> Preflight:
  """Compiles the step, in a process that has the slice's environment."""
  say("the devices' names")
  mesh = Mesh(named.devices(say), (sharding.AXIS,), axis_types=(AxisType.Auto,))
  sharding.check_batch_size(config.train.batch_size, mesh, "train.batch_size")
  say("the trace of the training step")
  flow, task = build(config)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **phases.optimizer_options(config)
  )
  with target.tracing_for(named.platform):
    abstract = setup.abstract_state(config, mesh, flow, task, optimizer)
    step = setup.jit_train_step(config, mesh, flow, task, optimizer, abstract)
    batch = batch_shapes(task, config.train.batch_size)
    traced = step.trace(abstract, batch)
  flops = jaxpr_flops(traced.jaxpr.jaxpr)
  say("the compiler, which can take minutes")
  begin = time.monotonic()
  lowered = traced.lower(lowering_platforms=(named.platform,))
  try:
    compiled = lowered.compile()
  except RuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    return _too_large(error, flops and flops / named.num_devices, begin)
  memory = compiled.memory_analysis()
  return Preflight(
    arguments=memory.argument_size_in_bytes,
    temporaries=memory.temp_size_in_bytes,
    outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
    program=memory.generated_code_size_in_bytes,
    flops=flops and flops / named.num_devices,
    collectives=collectives(compiled.as_text()),
    does_not_fit="",
    seconds=time.monotonic() - begin,
  )


def _too_large(error, flops, begin):
  return Preflight(
    arguments=0,
    temporaries=0,
    outputs=0,
    program=0,
    flops=flops,
    collectives={},
    does_not_fit=" ".join(str(error).split())[:300],
    seconds=time.monotonic() - begin,
  )


def batch_shapes(task: Task, batch_size: int) -> Mapping[str, Any]:
  """Returns the shapes of a batch of records with all that a task asks for."""
  size = task.image_size
  sides = (size, size) if isinstance(size, int) else tuple(size)
  picture = jax.ShapeDtypeStruct((batch_size, *sides, 3), jnp.uint8)
  label = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
  batch = {"image": picture} | ({"label": label} if task.num_classes else {})
  try:
    jax.eval_shape(task.prepare, batch)
  except (KeyError, ValueError):
    # A task that has pictures of two kinds.
    kinds = [kind for kind in PICTURES if kind != "image"]
    batch |= dict.fromkeys(kinds, picture)
    try:
      jax.eval_shape(task.prepare, batch)
    except KeyError as error:
      raise ValueError(
        f"This task's records have {error}, which --mode=preflight cannot make:"
        " it knows pictures and labels."
      ) from None
  return batch


def collectives(text: str) -> dict[str, tuple[int, int]]:
  """Counts the collectives of a compiled program, and the bytes they return.

  A loop's body counts once.
  """
  found: dict[str, tuple[int, int]] = {}
  pattern = re.compile(rf"= (.+?) ({'|'.join(_COLLECTIVES)})(?:-start)?\(")
  for shapes, kind in pattern.findall(text):
    count, size = found.get(kind, (0, 0))
    found[kind] = count + 1, size + _bytes(shapes)
  return found


def _bytes(shapes):
  return sum(
    _BYTES[dtype] * math.prod(int(n) for n in sides.split(",") if n)
    for dtype, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
    if dtype in _BYTES
  )
