"""`--mode=report`: a run's curves, samples and evaluation on one page."""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cinn_jax.evaluation import bits, importance
from cinn_jax.evaluation.calibrate import calibrate, section
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.evaluation.tables import records, table
from cinn_jax.evaluation.tables.page import Page
from cinn_jax.images import writing
from cinn_jax.runtime import storage
from cinn_jax.sampling import draw, temperatures
from cinn_jax.sampling.draw import Sampling
from cinn_jax.workdir.log import read_log
from cinn_jax.workdir.results_folder import results_folder
from cinn_jax.workdir.trained import Trained, restore

SHEETS, SHEET_ROWS = 2, 8
# Panels of training curves: title, names of the numbers in the log, and whether
# the axis is logarithmic.
CURVES = (
  ("bits/dim", ("bits_per_dim",), False),
  ("bits/dim, its parts", ("bits_prior", "bits_log_det"), False),
  ("loss", ("loss",), False),
  ("error of one sample", ("error",), False),
  ("auxiliary loss, nats/dim", ("auxiliary_loss",), False),
  ("largest log-scale", ("max_log_scale",), False),
  ("norm of the gradient", ("grad_norm",), True),
  ("largest round-trip error", ("round_trip_error",), True),
  ("images per second", ("images_per_second",), False),
)


def write_report(
  workdir: str | os.PathLike,
  *,
  results: str | os.PathLike | None = None,
  outputs: str | os.PathLike | None = None,
  data: Mapping[str, Any] | None = None,
  sampling: Sampling = Sampling(),
) -> pathlib.Path:
  """Writes `index.html`, and its pictures as PNG, to `workdir/report`.

  The page has training curves, contact sheets of test pictures with samples
  ranked by their conditional log-likelihood, the evaluation with its protocols,
  the calibration if there is one, and the config. If `evaluation.json` is not
  of the same step, config and sampling, the run is evaluated first, into
  `report/evaluation.json`.

  Args:
    workdir: A trained run, as `restore` takes it.
    results: Folder of the evaluation, the calibration, the log and the report,
      if it is not that of `results_folder`.
    outputs: Folder to write to instead of `report` in that folder.
    data: Settings that override the `data` section of the run's config.
    sampling: Number of samples, one temperature, and seed.

  Returns:
    The path of the page.

  Raises:
    FileNotFoundError: if the workdir holds no checkpoint.
  """
  trained = restore(workdir, data)
  draw.check_temperatures(
    trained.flow, trained.variables, sampling.temperatures
  )
  own = results_folder(results or workdir)
  folder = storage.path(outputs or own / "report")
  rows, metrics, content = current_evaluation(
    workdir, trained, data, sampling, folders=(own, own / "report")
  )
  name = storage.path(workdir).name
  page = Page(f"{name} at step {trained.step:,}")
  page.text(
    f"Scores of {trained.task.description}, on {content['source']}:",
    bits.in_words(content["likelihood"], trained.task),
  )
  if weighted := content["likelihood"].get("importance_weighted"):
    page.text(importance.in_words(weighted, trained.task))
  page.heading("Metrics")
  temperature = temperatures.names(sampling.temperatures)
  page.text(f"Sampled at temperature {temperature} with seed {sampling.seed}.")
  page.table(table.cells(rows, metrics))
  page.items(table.legend(rows, metrics))
  page.items(content["notes"])
  page.heading("Samples")
  order = ", most likely first" if trained.flow.objective is None else ""
  for k, sheet in enumerate(_sheets(trained, sampling), start=1):
    writing.save_png(folder / f"samples_{k}.png", sheet)
    page.picture(sheet, f"Test pictures and samples{order} ({k})")
  if trained.config["task"]["name"] in calibrate.TASKS:
    section.add_section(page, workdir, trained, own)
  page.heading("Training")
  try:
    curves = training_curves(read_log(own))
  except (FileNotFoundError, ValueError) as error:
    page.text(str(error))  # An imported checkpoint has no log, for example.
  else:
    writing.save_png(folder / "training.png", curves)
    page.picture(curves, "Numbers that the run logged, by step")
  page.heading("Config")
  page.code(json.dumps(trained.config, indent=2))
  page.heading("Hardware and versions")
  facts = {key: content[key] for key in ("hardware", "versions")}
  page.code(json.dumps(facts, indent=2))
  path = folder / "index.html"
  page.write(path)
  print(f"Wrote {path}.")
  return path


def current_evaluation(
  workdir: str | os.PathLike,
  trained: Trained,
  data: Mapping[str, Any] | None,
  sampling: Sampling,
  folders: Sequence[pathlib.Path],
) -> tuple[table.Rows, table.Metrics, dict[str, Any]]:
  """Returns the run's evaluation, as `records.read_json` does.

  If the `evaluation.json` of all folders is missing, or of another checkpoint,
  config or sampling, it evaluates the run into the last folder. So those of the
  other folders stay as they are.
  """
  expected = {
    "step": trained.step,
    "checkpoint": trained.digest,
    "config": trained.config,
    **sampling._asdict(),
  }
  expected = json.loads(json.dumps(expected))  # In JSON, tuples are lists.
  paths = [folder / "evaluation.json" for folder in folders]
  for path in paths:
    if path.exists():
      evaluation = records.read_json(path)
      content = evaluation[2]
      if all(content.get(name) == value for name, value in expected.items()):
        return evaluation
  evaluate(workdir, outputs=folders[-1], data=data, sampling=sampling)
  return records.read_json(paths[-1])


def _sheets(trained: Trained, sampling: Sampling) -> Iterator[np.ndarray]:
  """Draws contact sheets of test pictures, spread over the split."""
  batch = trained.pictures("test", SHEETS * SHEET_ROWS)
  sampler = jax.jit(
    draw.make_sampler(
      trained.flow, trained.task, num_samples=sampling.num_samples
    )
  )
  rng = jax.random.key(sampling.seed)
  outcome = jax.device_get(
    sampler(trained.variables, rng, batch, *sampling.temperatures)
  )
  temperature = temperatures.names(sampling.temperatures)
  note = f"step {trained.step:,}, temperature {temperature}"
  for start in range(0, len(batch["image"]), SHEET_ROWS):
    rows = slice(start, start + SHEET_ROWS)
    columns = (values[rows] for values in (batch["image"], *outcome))
    yield draw.contact_sheet(trained.task, *columns, note)


def training_curves(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """Plots the log's numbers by step, one panel for each of `CURVES`.

  Args:
    rows: Rows of `metrics.jsonl`, as dictionaries.

  Returns:
    A picture, uint8 [H, W, 3].

  Raises:
    ValueError: if there is nothing to plot.
  """
  panels = [
    (title, lines, is_log)
    for title, names, is_log in CURVES
    if (lines := curve_points(rows, names))
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


def curve_points(
  rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, tuple[tuple, tuple]]:
  """Returns `{label: (steps, values)}` of the numbers that the log has."""
  lines = {}
  for split in ("train", "validation"):
    for name in names:
      points = [
        (row["step"], row[name])
        for row in rows
        if row["split"] == split and name in row
      ]
      if points:
        label = split if len(names) == 1 else f"{split}, {name}"
        steps, values = zip(*points, strict=True)
        lines[label] = steps, values
  return lines
