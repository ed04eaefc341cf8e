"""Measures the time of a training step, ours and FrEIA's.

  launch/local.sh python tests/benchmarks/train_step.py \\
    --config=configs/mnist.py --peer=freia [--json=FILE]
  launch/local.sh python tests/benchmarks/train_step.py \\
    --config=configs/colorize.py:lsun --peer=freia

All steps use one batch of random pictures that stays on the device, so reading
files is not measured. Ours is the step that `training.train` runs, from uint8
pictures to the new state. With --peer=freia the same network in FrEIA takes
turns with ours, in a process of its own. It gets x and cond, and does the same
from there: noise, loss, gradient, clipping and Adam. --peer=freia-compiled
passes that network to torch.compile.

Goals on two cores, in images per second: 1.3 times FrEIA's for MNIST, 0.75
times for LSUN.

`seconds` is the time of a step by the clock, `processor` the time of all cores
together, which other work on the machine changes less. Both are medians of the
rounds, with quartiles. A ratio is FrEIA's time over ours. PyTorch's threads
spin while they wait for each other, which hides everything else on a busy
machine; then give each side one core (on Linux, `taskset -c 0` before the
command).
"""

import inspect
import pathlib
import tempfile

import jax
import machine
import numpy as np
import side_by_side
from absl import flags
from training_step import TrainingStep

from cinn_jax import cli, models
from cinn_jax.runtime import host_memory

_PEER = flags.DEFINE_enum(
  "peer", None, ["freia", "freia-compiled"], "Also time this peer."
)
_PEER_PYTHON = flags.DEFINE_string(
  "peer_python", None, "An interpreter with torch and FrEIA."
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size",
  None,
  "Pictures per step (default: the config's; on a CPU at most 16 if they are"
  " larger than 32x32).",
  lower_bound=1,
)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Number of rounds.", 2)
_STEPS = flags.DEFINE_integer("steps", 3, "Timed steps per turn.", 1)
_JSON = flags.DEFINE_string(
  "json", None, "Also write the results to this file."
)

CLOCKS = ("seconds", "processor")


def _run():
  host_memory.keep_freed_memory()  # As in `cinn_jax.main`.
  config = cli.CONFIG.value
  config.train.batch_size = _BATCH_SIZE.value or _batch_size(config)
  ours = TrainingStep(config)
  facts = machine.facts("jax", "jaxlib", "flax", device=ours.device)
  if _PEER.value:
    python = side_by_side.freia_python(_PEER_PYTHON.value)
    with side_by_side.Peer(python, "freia_trainer.py") as peer:
      facts["peer"] = peer.facts
      facts["versions"] = peer.facts["versions"] | facts["versions"]
      _set_up(peer, config, ours)
      results = _measure(ours, peer)
  else:
    results = _measure(ours)
  results |= {
    "network": config.model.name,
    "parameters": ours.parameters,
    "batch_size": config.train.batch_size,
    "flops": ours.flops,
    "compile_seconds": ours.compile_seconds,
  }
  print(_table(results))
  machine.finish(results, facts, _JSON.value)


def _batch_size(config):
  """Returns the config's batch size, or less to keep steps short on a CPU."""
  batch_size = config.train.batch_size
  is_large = config.task.image_size > 32
  if is_large and jax.default_backend() == "cpu":
    return min(batch_size, 16)
  return batch_size


def _set_up(peer, config, ours):
  """Sends the settings and our batch, channels first, to the peer."""
  model = config.model.to_dict()
  builder = inspect.signature(models.BUILDERS[model["name"]]).parameters
  model = {name: p.default for name, p in builder.items()} | model
  x, cond = (
    np.moveaxis(leaf, -1, 1) if leaf.ndim == 4 else leaf
    for leaf in jax.device_get(jax.jit(ours.task.prepare)(ours.pictures))
  )
  with tempfile.TemporaryDirectory() as folder:
    batch = pathlib.Path(folder) / "batch.npz"
    np.savez(batch, x=x, cond=cond)
    answer = peer(
      settings={
        "model": model,
        "task": config.task.to_dict(),
        "optimizer": config.optimizer.to_dict(),
        "batch": str(batch),
        "accelerator": jax.default_backend() != "cpu",
        "compiled": _PEER.value == "freia-compiled",
      }
    )
  if answer["parameters"] != ours.parameters:
    raise ValueError(
      f"FrEIA's network has {answer['parameters']:,} parameters, this config's"
      f" {ours.parameters:,}: pass a published network."
    )


def _measure(ours, peer=None):
  """Returns medians and quartiles by side and clock, and ratios."""
  calls = {"ours": lambda: ours(_STEPS.value)}
  if peer:
    calls["freia"] = lambda: peer(steps=_STEPS.value)
  rounds = side_by_side.alternate(calls, _ROUNDS.value)
  times = {
    side: {clock: [turn[clock] for turn in turns] for clock in CLOCKS}
    for side, turns in rounds.items()
  }
  results = {
    "sides": {
      side: {clock: machine.spread(values[clock]) for clock in CLOCKS}
      for side, values in times.items()
    }
  }
  if peer:
    ratios = {
      clock: side_by_side.ratio(times["ours"][clock], times["freia"][clock])
      for clock in CLOCKS
    }
    results["sides"]["ratio"] = ratios
    results["ratio"] = ratios["seconds"]["median"]
  return results


def _table(results):
  if results["flops"] is None:
    speed = "FLOPs unknown"
  else:
    rate = results["flops"] / results["sides"]["ours"]["seconds"]["median"]
    speed = (
      f"{results['flops'] / 1e9:.1f} GFLOP per step, {rate / 1e9:.0f} GFLOP/s"
    )
  head = (
    f"{results['network']}, {results['parameters']:,} parameters, batch"
    f" {results['batch_size']}; ours: {speed}, compiled in"
    f" {results['compile_seconds']:.1f} s\n"
  )
  lines = [
    [side, *(_cell(clocks[clock]) for clock in CLOCKS)]
    for side, clocks in results["sides"].items()
  ]
  return head + machine.table(["side", *CLOCKS], lines)


def _cell(values):
  return "{median:.3f} ({low:.3f} to {high:.3f})".format_map(values)


if __name__ == "__main__":
  cli.run(_run, required=["config"])
