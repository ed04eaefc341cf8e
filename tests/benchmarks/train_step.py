"""How long a training step takes, here and in FrEIA with PyTorch.

  launch/local.sh python tests/benchmarks/train_step.py \\
    --config=configs/mnist.py --peer=freia
  launch/local.sh python tests/benchmarks/train_step.py \\
    --config=configs/colorize.py:lsun --batch_size=16 --peer=freia

The two take turns in one process tree, on the same batch of random pictures,
which stays where it is: no reading of files is measured. Ours is the step that
`training.train` runs, from uint8 pictures to the new state. The peer gets x and
cond ready-made, and does the same from there: noise, loss, gradient, clipping
and Adam. Either ends on its own device; every turn starts with a step that does
not count. --peer=freia-compiled gives its network to torch.compile.

On a machine that others use too, threads that wait for each other tell nothing
but that: there, processor time of one core each is what can be compared,

  taskset -c 0 launch/local.sh python tests/benchmarks/train_step.py \\
    --clock=cpu --config=configs/mnist.py --peer=freia

The peer needs the extra `freia`: in this interpreter, or in one that
--peer_python names.
"""

import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from cinn_jax import command  # noqa: E402

_PEER = flags.DEFINE_enum(
  "peer", None, ["freia", "freia-compiled"], "Who else takes steps."
)
_PEER_PYTHON = flags.DEFINE_string(
  "peer_python", None, "An interpreter with torch and FrEIA."
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", None, "Pictures per step (default: the config's).", 1
)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of each side.", 1)
_STEPS = flags.DEFINE_integer("steps", 3, "Steps per turn that count.", 1)
_CLOCK = flags.DEFINE_enum(
  "clock",
  "wall",
  ["wall", "cpu"],
  "What counts: the time, or the processor time of all of a side's threads.",
)
_JSON = flags.DEFINE_string("json", None, "Also write the results there.")


def _run():
  # Beside the peer's, not in its stead.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  config = command.CONFIG.value
  if _BATCH_SIZE.value:
    config.train.batch_size = _BATCH_SIZE.value
  python = _peer_python() if _PEER.value else None
  ours = Ours(config)
  sides = {"ours": ours}
  with tempfile.TemporaryDirectory() as folder:
    if python:
      sides[_PEER.value] = Peer(python, config, ours, pathlib.Path(folder))
    seconds = {name: [] for name in sides}
    for _ in range(_ROUNDS.value):
      for name, side in sides.items():
        seconds[name].append(side.run(_STEPS.value))
  results = _summary(config, ours, sides.get(_PEER.value), seconds)
  print(_table(results))
  if _JSON.value:
    text = json.dumps(results, indent=2)
    pathlib.Path(_JSON.value).write_text(text + "\n")


class Ours:
  """The step as `training.train` compiles it, on one batch."""

  def __init__(self, config):
    import jax

    from cinn_jax import experiment, host_memory
    from cinn_jax.flops import jaxpr_flops
    from cinn_jax.training import run as runs
    from cinn_jax.training import sharding
    from cinn_jax.training.optimizer import make_optimizer

    host_memory.keep_freed()  # As `main` does.
    mesh = sharding.make_mesh()
    flow, self.task = experiment.build(config)
    optimizer = make_optimizer(
      num_steps=config.train.num_steps, **config.optimizer.to_dict()
    )
    parts = {"flow": flow, "task": self.task, "optimizer": optimizer}
    run = runs.Run(
      **dict.fromkeys(set(runs.Run._fields) - {"config", "mesh", "abstract"}),
      config=config,
      mesh=mesh,
      abstract=runs.abstract_state(config, mesh, **parts),
    )._replace(**parts)
    self.pictures = _random_pictures(config, self.task.image_size)
    self._batch = sharding.put_batch(self.pictures, mesh)
    self._state = runs.new_state(run, self.pictures)
    begin = time.perf_counter()
    traced = runs.compile_step(run).trace(self._state, self._batch)
    self._step = traced.lower().compile()
    self.compile_seconds = time.perf_counter() - begin
    self.flops = jaxpr_flops(traced.jaxpr.jaxpr)
    self.parameters = sum(p.size for p in jax.tree.leaves(self._state.params))
    self.machine = {
      "device": jax.devices()[0].device_kind,
      "jax": jax.__version__,
    }

  def prepared(self):
    """(x, cond) of the batch, as the peer takes them: channels first."""
    import jax
    import numpy as np

    def channels_first(leaf):
      return np.moveaxis(leaf, -1, 1) if leaf.ndim == 4 else np.asarray(leaf)

    return map(channels_first, jax.jit(self.task.prepare)(self.pictures))

  def run(self, steps):
    """Seconds per step."""
    now = time.process_time if _CLOCK.value == "cpu" else time.perf_counter
    self._steps(1)
    begin = now()
    bits = self._steps(steps)["bits_per_dim"]
    seconds = (now() - begin) / steps
    if not math.isfinite(bits):
      raise ValueError(f"The step's bits/dim are {bits}.")
    return seconds

  def _steps(self, number):
    import jax

    for _ in range(number):
      self._state, metrics = self._step(self._state, self._batch)
    jax.block_until_ready(self._state)
    return metrics


def _random_pictures(config, size):
  import numpy as np

  random, count = np.random.default_rng(0), config.train.batch_size
  pictures = {
    "image": random.integers(0, 256, (count, size, size, 3), np.uint8)
  }
  if config.task.name == "class_conditional":
    pictures["label"] = random.integers(0, 10, count, np.int32)
  return pictures


class Peer:
  """`freia_trainer.py` in a process of its own."""

  def __init__(self, python, config, ours, folder):
    import numpy as np

    x, cond = ours.prepared()
    np.savez(folder / "batch.npz", x=x, cond=cond)
    sections = ("model", "task", "optimizer")
    settings = {name: config[name].to_dict() for name in sections}
    settings["model"] = {**_defaults(config), **settings["model"]}
    self._process = subprocess.Popen(
      [python, ROOT / "tests/benchmarks/freia_trainer.py"],
      env={**os.environ, "PYTHONPATH": str(ROOT)},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.started = self._ask(
      json.dumps(
        {
          **settings,
          "batch": str(folder / "batch.npz"),
          "accelerator": ours.machine["device"] != "cpu",
          "clock": _CLOCK.value,
          "compile": _PEER.value == "freia-compiled",
        }
      )
    )
    if self.started["parameters"] != ours.parameters:
      raise ValueError(
        f"The peer has {self.started['parameters']:,} parameters, ours has"
        f" {ours.parameters:,}: compare the published networks."
      )

  def run(self, steps):
    return self._ask(str(steps))["seconds"]

  def close(self):
    self._process.stdin.close()
    self._process.wait()

  def _ask(self, line):
    self._process.stdin.write(line + "\n")
    self._process.stdin.flush()
    answer = self._process.stdout.readline()
    if not answer:
      raise RuntimeError(f"The peer ended with {self._process.wait()}.")
    return json.loads(answer)


def _defaults(config):
  """What a config leaves to the model's builder."""
  import inspect

  from cinn_jax import models

  signature = inspect.signature(models.BUILDERS[config.model.name])
  return {k: p.default for k, p in signature.parameters.items()}


def _peer_python():
  python = _PEER_PYTHON.value or sys.executable
  tried = subprocess.run(
    [python, "-c", "import torch, FrEIA.modules"], capture_output=True
  )
  if tried.returncode:
    raise ValueError(
      f"{python} cannot import torch and FrEIA: install the extra freia, or"
      " name another interpreter with --peer_python."
    )
  return python


def _summary(config, ours, peer, seconds):
  batch_size = config.train.batch_size

  def side(name):
    median = statistics.median(seconds[name])
    return {
      "seconds_per_step": median,
      "fastest": min(seconds[name]),
      "slowest": max(seconds[name]),
      "images_per_second": batch_size / median,
      "seconds": seconds[name],
    }

  results = {
    "network": config.model.name,
    "batch_size": batch_size,
    "parameters": ours.parameters,
    "rounds": _ROUNDS.value,
    "steps_per_round": _STEPS.value,
    "clock": _CLOCK.value,
    "machine": {"cpu": _cpu(), "cores": _cores(), **ours.machine},
    "ours": side("ours"),
  }
  median = results["ours"]["seconds_per_step"]
  results["ours"] |= {
    "flops_per_step": ours.flops,
    "gflops_per_second": ours.flops / median / 1e9,
    "compile_seconds": ours.compile_seconds,
  }
  if peer:
    pairs = zip(seconds[_PEER.value], seconds["ours"], strict=True)
    results["peer"] = {"name": _PEER.value, **side(_PEER.value)}
    results["peer"]["first_step_seconds"] = peer.started["first_step"]
    results["machine"] |= {k: peer.started[k] for k in ("torch", "threads")}
    # Of each round's two turns, which shared what else the machine did.
    results["ratios"] = [theirs / mine for theirs, mine in pairs]
    results["ratio"] = statistics.median(results["ratios"])
  return results


def _cores():
  """Those that this process may run on."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count()


def _cpu():
  lines = pathlib.Path("/proc/cpuinfo")
  for line in lines.read_text().splitlines() if lines.exists() else ():
    if line.startswith("model name"):
      return line.partition(":")[2].strip()
  return platform.processor()


def _table(results):
  ours, peer = results["ours"], results.get("peer")
  lines = [
    f"{results['network']}, {results['parameters']:,} parameters, batch"
    f" {results['batch_size']}, {results['rounds']} turns of"
    f" {results['steps_per_round']} steps, {results['clock']} time; "
    + ", ".join(f"{k} {v}" for k, v in results["machine"].items()),
    f"ours: {ours['flops_per_step'] / 1e9:.1f} GFLOP per step at"
    f" {ours['gflops_per_second']:.0f} GFLOP/s; compiled in"
    f" {ours['compile_seconds']:.1f} s",
    "| side | s/step, median | fastest to slowest | images/s |",
    "|---|---:|---:|---:|",
  ]
  sides = {"ours": ours} | ({peer["name"]: peer} if peer else {})
  for name, side in sides.items():
    lines.append(
      f"| {name} | {side['seconds_per_step']:.3f} | {side['fastest']:.3f} to"
      f" {side['slowest']:.3f} | {side['images_per_second']:.1f} |"
    )
  if peer:
    ratios = results["ratios"]
    lines.append(
      f"ratio (our images/s by theirs, median of the rounds):"
      f" {results['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
  return "\n".join(lines)


if __name__ == "__main__":
  command.run(_run, required=["config"])
