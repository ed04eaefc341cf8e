"""Shows what keeps CAFLOW and Dual-Glow+ stable at the start of training.

  python tests/benchmarks/pair_stability.py --data=PHOTOS.zip \\
    [--model=caflow] [--without=nothing,eps] [--far=0,3] [--seed=0,1]
  python tests/benchmarks/pair_stability.py --plot=FILE.png

Trains the published networks for colorization at 64x64 by the published recipe
(batches of 8, a warm-up of 500 steps) on photographs of rooms, as they are and
with one cure taken away:

  init      ActNorm starts from one batch, not from 256 pictures
  start     networks start at LeCun's variance for the data, and again for each
            condition, not at the published variance for all inputs together
  eps       Adam's eps is 1e-8, not CAFLOW's in units of our loss
  channels  the condition is three equal grey channels, not one
  all       all of these

With --far=3, networks see numbers beyond 3 compressed
(`models/networks/taming.py`), which the published ones do not.

PHOTOS.zip has a folder "rooms" with pictures. `pair_comparison.py --prepare`
makes a small one.

Each run appends a row to --results as soon as it is finished. It has, for each
step, the norm of the gradient, the largest log-scale, and the bits/dim of
condition and target. Runs whose rows exist are skipped, so several processes
can share the work. The runs of one process share its compiled programs. --plot
draws all rows.
"""

import argparse
import datetime
import itertools
import math
import pathlib
import time

import jax
import machine
import numpy as np
import pair_pictures
import pair_programs
import result_rows

from cinn_jax.workdir.state import MOST_SKIPPED

RESULTS = pathlib.Path(__file__).parent / "results" / "pair_stability.json"
# The cures that are taken away, by name.
CURES = ("init", "start", "eps", "channels")
WITHOUT: dict[str, tuple[str, ...]] = {
  "nothing": (),
  **{cure: (cure,) for cure in CURES},
  "all": CURES,
}
PUBLISHED_EPS = 1e-8
# The numbers that a row has for each step, and their titles in the plot.
SERIES = {
  "grad_norm": "norm of the gradient",
  "max_log_scale": "largest |log-scale|",
  "condition_bits": "bits/dim of the condition",
  "target_bits": "bits/dim of the target",
}
_LABELS = {"nothing": "as they are", "all": "without any cure"}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", help="a zip file of photographs")
  parser.add_argument(
    "--model",
    type=_some_of(pair_programs.MODELS),
    default=list(pair_programs.MODELS),
  )
  parser.add_argument("--without", type=_some_of(WITHOUT), default=[*WITHOUT])
  parser.add_argument("--far", default="0", help="for example 0,3")
  parser.add_argument("--seed", default="0", help="for example 0,1,2")
  parser.add_argument("--steps", type=int, default=300)
  parser.add_argument("--results", default=str(RESULTS))
  parser.add_argument("--compilation_cache", default="")
  parser.add_argument("--plot", help="draw all rows to this file, and stop")
  options = parser.parse_args()
  results = pathlib.Path(options.results)
  if options.plot:
    plot(result_rows.read(results), options.plot)
    return
  if not options.data:
    parser.error("--data=PHOTOS.zip is needed")
  if options.compilation_cache:
    jax.config.update("jax_compilation_cache_dir", options.compilation_cache)
  # Accelerators would round the inputs of products to fewer bits.
  jax.config.update("jax_default_matmul_precision", "highest")
  pictures, _, _ = pair_pictures.read(options.data, "rooms", pair_programs.SIZE)
  seeds = [int(seed) for seed in options.seed.split(",")]
  distances = [float(far) for far in options.far.split(",")]
  for model, far in itertools.product(options.model, distances):
    done = set(map(_key, result_rows.read(results)))
    runs = [
      (name, seed)
      for seed in seeds
      for name in options.without
      if (model, name, far, seed, options.steps) not in done
    ]
    if not runs:
      print(f"{model}, far={far:g}: done before.", flush=True)
      continue
    programs = pair_programs.Programs(
      model, {WITHOUT[name] for name, _ in runs}, options, far
    )
    for name, seed in runs:
      row = _run(programs, name, seed, pictures, options.steps)
      result_rows.append(results, row, _key)


def _some_of(names):
  def parse(text):
    if unknown := set(text.split(",")) - set(names):
      raise argparse.ArgumentTypeError(
        f"{', '.join(sorted(unknown))}: expected some of {', '.join(names)}"
      )
    return text.split(",")

  return parse


def _key(row):
  far = row.get("far", 0.0)
  return row["model"], row["without"], far, row["seed"], row["steps"]


def _run(programs, name, seed, pictures, steps) -> result_rows.Row:
  removed = WITHOUT[name]
  setting = programs.setting(removed)
  config = programs.configs[setting.channels]
  batch_size = config.train.batch_size

  def images(count, size):
    rows = pair_pictures.batches(len(pictures), count, size, seed)
    return pictures.images[rows]

  [first] = images(1, setting.init_batch_size)
  take_steps = programs.steps(setting.channels)
  state = programs.init(setting)(pair_programs.key_for(seed), {"image": first})
  if "start" in removed:
    params = pair_programs.start_loud(jax.random.key(seed), state.fit.params)
    state = state._replace(fit=state.fit._replace(params=params))
  eps = PUBLISHED_EPS if "eps" in removed else config.optimizer.eps
  start = time.perf_counter()
  measured = []
  for chunk in np.split(images(steps, batch_size), steps // programs.length):
    state, metrics = take_steps(state, np.uint32(seed), np.float32(eps), chunk)
    measured.append(metrics)
  metrics = jax.tree.map(
    lambda *leaves: np.concatenate(leaves), *jax.device_get(measured)
  )
  seconds = (time.perf_counter() - start) / steps
  nats = metrics["auxiliary_loss"] / config.model.condition_weight
  series = {
    "grad_norm": metrics["grad_norm"],
    "max_log_scale": metrics["max_log_scale"],
    "condition_bits": nats / np.log(2) + 8,
    "target_bits": metrics["bits_per_dim"] + 8,
  }
  # The run ends after this many such steps in a row.
  over = metrics["skipped"] >= MOST_SKIPPED
  series = {key: np.where(over, np.nan, v) for key, v in series.items()}
  largest = [
    f"{key} {np.max(values, where=np.isfinite(values), initial=-np.inf):.4g}"
    for key, values in series.items()
  ]
  skipped = int(np.sum(metrics["skipped"] > 0))
  print(
    f"{programs.model} without {name}, far={programs.far:g}, seed {seed}:"
    f" largest {', '.join(largest)}; {skipped} steps skipped, {seconds:.2f} s"
    " a step",
    flush=True,
  )
  params = jax.tree.leaves(state.fit.params)
  return {
    "model": programs.model,
    "without": name,
    "far": programs.far,
    "seed": seed,
    "steps": steps,
    "batch_size": batch_size,
    "init_batch_size": setting.init_batch_size,
    "condition_channels": setting.channels,
    "eps": eps,
    "parameters": sum(leaf.size for leaf in params),
    "pictures": pictures.name,
    "listing_hash": pictures.listing_hash,
    "seconds_per_step": round(seconds, 3),
    "skipped_steps": skipped,
    "when": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    **machine.facts("jax", "flax", device=jax.devices()[0].device_kind),
    **{key: _rounded(values) for key, values in series.items()},
  }


def _rounded(values):
  """Returns four digits of each number; None if it is not finite."""
  return [
    float(f"{value:.4g}") if math.isfinite(value) else None for value in values
  ]


def plot(rows, path) -> None:
  """Draws the series by step: one column per model, one line per run."""
  import matplotlib

  matplotlib.use("Agg")
  import matplotlib.pyplot as plt

  models = [
    m for m in pair_programs.MODELS if any(row["model"] == m for row in rows)
  ]
  figure, axes = plt.subplots(
    len(SERIES),
    len(models),
    figsize=(6 * len(models), 2.6 * len(SERIES)),
    sharex=True,
    sharey="row",
    squeeze=False,
    layout="constrained",
  )
  colors = dict(zip(WITHOUT, plt.get_cmap("tab10").colors, strict=False))
  for column, model in enumerate(models):
    axes[0, column].set_title(model)
    axes[-1, column].set_xlabel("step")
    for line, (key, title) in enumerate(SERIES.items()):
      axis = axes[line, column]
      axis.set_yscale("linear" if key == "max_log_scale" else "log")
      if column == 0:
        axis.set_ylabel(title)
      for row in sorted(rows, key=lambda row: [*WITHOUT].index(row["without"])):
        if row["model"] == model:
          name, far = row["without"], row.get("far", 0.0)
          label = _LABELS.get(name, f"without {name}")
          label += f", far={far:g}" if far else ""
          axis.plot(
            np.arange(1, row["steps"] + 1),
            np.array(row[key], float),
            color="black" if far else colors[name],
            linewidth=1.6 if name == "nothing" else 0.8,
            zorder=3 if name == "nothing" else 2,
            label=None if row["seed"] else label,
          )
  axes[0, 0].legend(fontsize="small")
  figure.savefig(path, dpi=110)


if __name__ == "__main__":
  main()
