"""`--mode=report`: all there is to see of a run, on one page."""

import json

import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cinn_jax.evaluation import bits, importance
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.evaluation.tables import records, table
from cinn_jax.evaluation.tables.page import Page
from cinn_jax.images import writing
from cinn_jax.runtime import storage
from cinn_jax.sampling import draw, temperatures
from cinn_jax.workdir.log import read_log
from cinn_jax.workdir.trained import restore

SHEETS, SHEET_ROWS = 2, 8
# Panels of training curves: a title, the numbers in the log, and whether to
# draw them by their logarithm.
CURVES = (
  ("bits/dim", ("bits_per_dim",), False),
  ("bits/dim, its parts", ("bits_prior", "bits_log_det"), False),
  ("auxiliary loss, nats/dim", ("auxiliary_loss",), False),
  ("largest log-scale", ("max_log_scale",), False),
  ("norm of the gradient", ("grad_norm",), True),
  ("largest round-trip error", ("round_trip_error",), True),
  ("images per second", ("images_per_second",), False),
)


def write_report(
  workdir, *, outputs=None, data=None, num_samples=8, temperature=1.0, seed=0
):
  """Writes `index.html` and its pictures as PNG to `workdir/report`.

  Training curves, contact sheets of test pictures with samples ranked by their
  conditional log-likelihood, the evaluation with its protocols, and the config.
  Evaluates the run first unless `evaluation.json` is of the same step and
  sampling.

  Args:
    workdir: of a trained run.
    outputs: another folder.
    data, num_samples, temperature, seed: as of `evaluate`.

  Returns:
    The path of the page.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  workdir = storage.path(workdir)
  trained = restore(workdir, data)
  wanted = {
    "step": trained.step,
    "config": trained.config,
    "num_samples": num_samples,
    "temperature": temperature,
    "seed": seed,
  }
  rows, metrics, content = _evaluation(workdir, wanted, data)
  folder = storage.path(outputs or workdir / "report")
  page = Page(f"{workdir.name} at step {trained.step:,}")
  page.text(
    f"Of {trained.task.description}, on {content['source']}:",
    bits.in_words(content["likelihood"], trained.task),
  )
  if weighted := content["likelihood"].get("importance_weighted"):
    page.text(importance.in_words(weighted, trained.task))
  page.heading("Metrics")
  told = temperatures.name(temperature)
  page.text(f"Sampled at temperature {told} with seed {seed}.")
  page.table(table.cells(rows, metrics))
  page.items(table.legend(rows, metrics))
  page.items(content["notes"])
  page.heading("Samples")
  sheets = _sheets(trained, num_samples, temperature, seed)
  for k, sheet in enumerate(sheets, start=1):
    writing.save_png(folder / f"samples_{k}.png", sheet)
    page.picture(sheet, f"Test pictures and samples, most likely first ({k})")
  page.heading("Training")
  try:
    curves = training_curves(read_log(workdir))
  except (FileNotFoundError, ValueError) as error:  # Of an import, say.
    page.text(str(error))
  else:
    writing.save_png(folder / "training.png", curves)
    page.picture(curves, "What the run logged, by step")
  page.heading("Config")
  page.code(json.dumps(trained.config, indent=2))
  page.heading("Made with")
  made = {key: content[key] for key in ("hardware", "versions")}
  page.code(json.dumps(made, indent=2))
  path = folder / "index.html"
  page.write(path)
  print(f"Wrote {path}.")
  return path


def _evaluation(workdir, wanted, data):
  path = workdir / "evaluation.json"
  if path.exists():
    found = records.read_json(path)
    wanted = json.loads(json.dumps(wanted))  # In JSON, tuples are lists.
    if all(found[2].get(name) == value for name, value in wanted.items()):
      return found
  sampled = ("num_samples", "temperature", "seed")
  evaluate(workdir, data=data, **{name: wanted[name] for name in sampled})
  return records.read_json(path)


def _sheets(trained, num_samples, temperature, seed):
  """Contact sheets of test pictures, spread over the split."""
  batch = trained.pictures("test", SHEETS * SHEET_ROWS)
  sampler = jax.jit(
    draw.make_sampler(trained.flow, trained.task, num_samples=num_samples)
  )
  drawn = jax.device_get(
    sampler(trained.variables, jax.random.key(seed), batch, temperature)
  )
  note = f"step {trained.step:,}, temperature {temperatures.name(temperature)}"
  for start in range(0, len(batch["image"]), SHEET_ROWS):
    page = slice(start, start + SHEET_ROWS)
    shown = (values[page] for values in (batch["image"], *drawn))
    yield draw.contact_sheet(trained.task, *shown, note)


def training_curves(rows):
  """The log's numbers by step, a panel each: uint8 [H, W, 3].

  Args:
    rows: of `metrics.jsonl`, as dictionaries.

  Raises:
    ValueError: where there is nothing to draw.
  """
  panels = [
    (title, lines, is_log)
    for title, names, is_log in CURVES
    if (lines := _lines(rows, names))
  ]
  if not panels:
    raise ValueError("The log has no numbers yet.")
  columns = min(len(panels), 3)
  figure = Figure(
    (4 * columns, 3 * -(-len(panels) // columns)), layout="constrained"
  )
  axes = np.reshape(figure.subplots(-(-len(panels) // columns), columns), -1)
  for axis, (title, lines, is_log) in zip(axes, panels, strict=False):
    for label, (steps, values) in lines.items():
      axis.plot(steps, values, ".-" if len(steps) < 30 else "-", label=label)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("step")
    if is_log and min(min(values) for _, values in lines.values()) > 0:
      axis.set_yscale("log")
    axis.legend(fontsize=8)
  for axis in axes[len(panels) :]:
    axis.set_axis_off()
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _lines(rows, names):
  """`{label: (steps, values)}` of what the log has."""
  lines = {}
  for split in ("train", "validation"):
    for name in names:
      found = [
        (row["step"], row[name])
        for row in rows
        if row["split"] == split and name in row
      ]
      if found:
        label = split if len(names) == 1 else f"{split}, {name}"
        lines[label] = tuple(zip(*found, strict=True))
  return lines
