"""Compares cINN, Dual-Glow+ and CAFLOW on equal budgets.

  python tests/benchmarks/flows_side_by_side.py --data=PHOTOS \\
    [--folder=workdirs/side_by_side] [--sizes=matched,published] \\
    [--tasks=super_resolution,colorize_rgb] [--steps=1200] [--seeds=0,1]

Trains each model on 4x super-resolution and on colorization of RGB, with the
same pictures, steps, batch size and optimizer. `--sizes=matched` gives all
models the same number of parameters, `published` the sizes published for 64x64.
Then evaluates the models and prints, for each task, one comparison and a table
of parameters and seconds per step.

Results are kept in FOLDER: the same command continues where it was stopped.
LPIPS and FID are included if their weights are installed (see the README).
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys

import jax
import machine

from cinn_jax.experiment.build import abstract_variables, build
from cinn_jax.flow import split_variables

ROOT = pathlib.Path(__file__).parents[2]
TASKS = ("super_resolution", "colorize_rgb")
# The laptop's CAFLOW sets the size; the others are widened to match it.
_MATCHED = {
  "cinn": {"hidden": (64, 96, 160)},
  "dual_glow_plus": {"latent_hidden": 88},
  "caflow": {},
}
_PAIR = {"levels": 4, "depth": 16, "hidden": 64}
# The cINN's size is our choice: none is published for whole pictures.
_PUBLISHED = {
  "cinn": {
    "hidden": (64, 96, 128, 192),
    "depths": (8, 8, 8, 8),
    "condition_channels": (64, 96, 128, 192),
  },
  "dual_glow_plus": {**_PAIR, "latent_depth": 8},
  "caflow": {**_PAIR, "latent_depths": (8, 8)},
}
SIZES = {"matched": _MATCHED, "published": _PUBLISHED}
# The published condition of pair flows is three equal grey channels; it is kept
# to match the sizes of super-resolution. The channels differ only in noise,
# which the published logit of the condition would enlarge too far.
_COLORIZATION = {"condition_channels": 3, "condition_logit_alpha": 0.05}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", required=True, help="a folder of photographs")
  parser.add_argument("--folder", default="workdirs/side_by_side")
  parser.add_argument("--steps", type=int, default=1200)
  parser.add_argument("--size", type=int, default=32)
  parser.add_argument("--batch_size", type=int, default=32)
  parser.add_argument("--seeds", default="0", help="for example 0,1,2")
  parser.add_argument("--num_samples", type=int, default=8)
  parser.add_argument("--sizes", type=_some_of(SIZES), default=["matched"])
  parser.add_argument("--tasks", type=_some_of(TASKS), default=list(TASKS))
  options = parser.parse_args()
  for task in options.tasks:
    workdirs, rows = [], []
    for size in options.sizes:
      for model, settings in SIZES[size].items():
        for seed in options.seeds.split(","):
          workdir = pathlib.Path(options.folder) / task / f"{model}-{size}"
          workdir = workdir.with_name(f"{workdir.name}-{seed}")
          if task == "colorize_rgb" and model != "cinn":
            settings = settings | _COLORIZATION
          command = _command(
            config=f"configs/{task}.py:{model},size={options.size},recipe=small",
            settings=settings,
            seed=seed,
            workdir=workdir,
            options=options,
          )
          _train_and_evaluate(command, workdir, options.num_samples)
          workdirs.append(workdir)
          rows.append(_cost(workdir))
    outputs = pathlib.Path(options.folder) / task
    _run([f"--workdirs={','.join(map(str, workdirs))}"], "compare", outputs)
    head = ("run", "parameters", "s/step")
    print(machine.table(head, rows))
  machine.finish({}, machine.facts("jax", "flax"))


def _some_of(names):
  def parse(text):
    if unknown := set(text.split(",")) - set(names):
      raise argparse.ArgumentTypeError(
        f"{', '.join(sorted(unknown))}: expected some of {', '.join(names)}"
      )
    return text.split(",")

  return parse


def _command(config, settings, seed, workdir, options):
  """Returns the arguments of one run, without the mode."""
  changes = {
    "data.source": "folder",
    "data.path": str(pathlib.Path(options.data).resolve()),
    "train.num_steps": options.steps,
    "train.batch_size": options.batch_size,
    "train.seed": seed,
    "train.eval_every": max(options.steps // 4, 1),
    "train.sheet_every": options.steps,
    **{f"model.{name}": value for name, value in settings.items()},
  }
  return [
    f"--config={config}",
    f"--workdir={workdir.resolve()}",
    *(f"--config.{name}={value}" for name, value in changes.items()),
  ]


def _train_and_evaluate(command, workdir, num_samples):
  if (workdir / "evaluation.json").exists():
    print(f"{workdir} is already evaluated.", flush=True)
    return
  _run(command, "train")
  _run([*command[:2], f"--num_samples={num_samples}"], "evaluate")


def _run(arguments, mode, outputs=None):
  """Runs one command; exits with its exit code if it fails."""
  command = [sys.executable, "-m", "cinn_jax.main", f"--mode={mode}"]
  if outputs:
    command.append(f"--outputs={outputs.resolve()}")
  code = subprocess.run([*command, *arguments], cwd=ROOT).returncode
  if code:
    sys.exit(code)


def _cost(workdir):
  """Returns a table row: the run, its parameters and its seconds per step."""
  config = json.loads((workdir / "evaluation.json").read_text())["config"]
  variables = abstract_variables(*build(config))
  params, _ = split_variables(variables)
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rates = [
    entry["images_per_second"]
    for entry in map(json.loads, lines)
    if entry["split"] == "train"
  ]
  seconds = config["train"]["batch_size"] / statistics.median(rates)
  return workdir.name, f"{count:,}", f"{seconds:.3f}"


if __name__ == "__main__":
  main()
