"""`--mode=latent`: contact sheets of a trained run's latent space."""

import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.evaluation.latent import moves
from cinn_jax.evaluation.latent.subject import Subject, subject_of
from cinn_jax.images import color, sheets, writing
from cinn_jax.runtime import storage
from cinn_jax.workdir.results_folder import results_folder
from cinn_jax.workdir.trained import restore

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SAMPLE_TEMPERATURES = (0.6, 0.8, 1.0)
# Standard deviations of a principal axis (published code).
POSITIONS = (-8, -6, -4, -2, 0, 2, 4, 6, 8)
AXES = 3
# Share of random latents in those of a reference, finest level first (published
# code); the levels that follow are the reference's own.
SHARES = (1.0, 0.7)
_COLUMNS = 8


class Sheet(NamedTuple):
  """A grid of examples.

  Attributes:
    x: Examples [rows, columns, ...].
    conds: Their conditions [rows, columns, ...].
    columns: Titles of the columns.
    rows: Titles of the rows.
    note: Description of the sheet.
  """

  x: np.ndarray
  conds: np.ndarray
  columns: list[str]
  rows: list[str]
  note: str


def draw_latent_sheets(
  workdir: str | os.PathLike,
  *,
  outputs: str | os.PathLike | None = None,
  data: Mapping[str, Any] | None = None,
  seed: int = 0,
) -> list[pathlib.Path]:
  """Writes contact sheets of a trained run's latent space.

  They show samples at several temperatures; one latent under all conditions;
  style transfer; interpolation; rising temperature; walks along principal axes;
  one random level at a time; and a plane of latents. For style transfer, a
  picture is encoded under its own condition and decoded under all others. If
  there are several levels, the finer ones are mostly random: colour transfer.

  Args:
    workdir: Folder of a trained run.
    outputs: Folder to write to, by default `workdir/latent`.
    data: Settings that override the `data` section of the run's config, to show
      other pictures.
    seed: Seed for the latents.

  Returns:
    The paths of the sheets.

  Raises:
    FileNotFoundError: if the workdir holds no checkpoint.
    ValueError: if its model is not a flow, or if its condition has several
      parts, such as hints.
  """
  trained = restore(workdir, data)
  if trained.flow.objective is not None:
    raise ValueError(
      f"--mode=latent is for flows: {trained.flow.objective.title} has no"
      " latents of a picture."
    )
  if isinstance(trained.task.cond_shape, Mapping):
    raise ValueError(
      "--mode=latent takes conditions that are one picture or class; this run's"
      f" have several parts: {', '.join(sorted(trained.task.cond_shape))}."
    )
  subject = subject_of(trained, seed)
  render = jax.jit(jax.vmap(subject.task.render))
  folder = storage.path(outputs or results_folder(workdir) / "latent")
  paths = []
  for name, make in SHEETS.items():
    for k, sheet in enumerate(make(subject)):
      path = folder / (f"{name}_{k + 1}.png" if k else f"{name}.png")
      writing.save_png(path, contact_sheet(sheet, render))
      print(f"Wrote {path}: {sheet.note}.")
      paths.append(path)
  return paths


def _by_condition(s, z, columns, note):
  """Makes a sheet: a row per condition, a column per latent of [V, ...]."""
  x = s.decode(z)
  conds = np.repeat(s.conds[:, None], x.shape[1], axis=1)
  return Sheet(x=x, conds=conds, columns=columns, rows=s.titles, note=note)


def _samples(s: Subject) -> Iterator[Sheet]:
  z = s.draw(0, _COLUMNS, len(s.conds))
  for temperature in SAMPLE_TEMPERATURES:
    yield _by_condition(
      s,
      jax.tree.map(lambda leaf, t=temperature: t * leaf, z),
      [f"sample {k + 1}" for k in range(_COLUMNS)],
      f"samples at temperature {temperature:g}",
    )


def _conditions(s: Subject) -> Iterator[Sheet]:
  names = [f"latent {k + 1}" for k in range(_COLUMNS)]
  yield _by_condition(
    s,
    s.draw(1, _COLUMNS),
    names,
    "one latent per column, one condition per row",
  )


def _temperatures(s: Subject) -> Iterator[Sheet]:
  one = jax.tree.map(lambda leaf: leaf[0], s.draw(2, 1))
  names = [f"{temperature:g}" for temperature in TEMPERATURES]
  z = moves.scale(one, TEMPERATURES)
  yield _by_condition(s, z, names, "one latent at rising temperature")


def _interpolation(s: Subject) -> Iterator[Sheet]:
  start, end = (
    jax.tree.map(lambda leaf, k=k: leaf[k], s.draw(3, 2)) for k in (0, 1)
  )
  names = [f"{k / _COLUMNS:g}" for k in range(_COLUMNS + 1)]
  z = moves.interpolate(start, end, _COLUMNS + 1)
  yield _by_condition(s, z, names, "from one latent to another")


def _axes(s: Subject) -> Iterator[Sheet]:
  axes = moves.principal_axes(s.latents, AXES)
  for k, share in enumerate(axes.variance_ratio):
    yield _by_condition(
      s,
      axes.walk({k: 1.0}, POSITIONS),
      [str(position) for position in POSITIONS],
      f"along principal axis {k + 1} of the latents ({100 * share:.1f} % of"
      " their variance), in standard deviations",
    )


def _transfer(s: Subject) -> Iterator[Sheet]:
  shares = _shares(s.latents)
  z, _ = s.flow.forward(s.variables, s.x, s.conds)
  random = jax.tree.map(lambda leaf: leaf[0], s.draw(4, 1, len(s.conds)))
  decoded = moves.across_conditions(
    s.flow, s.variables, moves.mix(z, random, shares), s.conds
  )
  targets = np.repeat(s.conds[None], len(s.conds), axis=0)
  yield Sheet(
    x=np.concatenate([s.x[:, None], decoded], axis=1),
    conds=np.concatenate([s.conds[:, None], targets], axis=1),
    columns=["reference", *s.titles],
    rows=s.titles,
    note="the style of each row's reference under the condition of each column"
    + (f"; random share by level {shares}" if any(shares) else ""),
  )


def _shares(latents):
  levels = len(jax.tree.leaves(latents))
  if levels == 1:
    return (0.0,)
  shares = SHARES[: levels - 1]
  return shares + (0.0,) * (levels - len(shares))


def _levels(s: Subject) -> Iterator[Sheet]:
  draws = s.draw(5, _COLUMNS)
  zero = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), draws)
  levels = len(jax.tree.leaves(zero))
  if levels == 1:
    return
  index = np.arange(min(2, len(s.conds)))
  x = [
    s.decode(moves.resample(zero, draws, level), index)
    for level in range(levels)
  ]
  conds = np.repeat(s.conds[index][:, None], _COLUMNS, axis=1)
  yield Sheet(
    x=np.concatenate(x),
    conds=np.concatenate([conds] * levels),
    columns=[f"draw {k + 1}" for k in range(_COLUMNS)],
    rows=[f"level {k}" for k in range(levels) for _ in index],
    note="one level random, the others zero; level 0 is the finest",
  )


def _grid(s: Subject) -> Iterator[Sheet]:
  first, second = (
    jax.tree.map(lambda leaf, k=k: leaf[k], s.draw(6, 2)) for k in (0, 1)
  )
  middle = np.array([len(s.conds) // 2])
  plane = s.decode(moves.grid(first, second), middle)[0]
  side = math.isqrt(len(plane))
  yield Sheet(
    x=plane.reshape(side, side, *plane.shape[1:]),
    conds=np.broadcast_to(s.conds[middle], (side, side, *s.conds.shape[1:])),
    columns=[""] * side,
    rows=[""] * side,
    note=f"a plane of latents under condition {s.titles[middle[0]]}; zero is in"
    " the middle",
  )


# The sheets of `--mode=latent`: functions of a `Subject`, by file name.
SHEETS: dict[str, Callable[[Subject], Iterator[Sheet]]] = {
  "samples": _samples,
  "conditions": _conditions,
  "transfer": _transfer,
  "interpolation": _interpolation,
  "temperatures": _temperatures,
  "axes": _axes,
  "levels": _levels,
  "grid": _grid,
}


def contact_sheet(sheet: Sheet, render: Callable) -> np.ndarray:
  """Renders a sheet as a picture, uint8 [H, W, 3].

  Args:
    sheet: The sheet.
    render: The task's `render`, mapped over rows.
  """
  pictures = np.asarray(color.to_uint8(render(sheet.x, sheet.conds)))
  return sheets.contact_sheet(
    list(pictures), sheet.columns, sheet.rows, note=sheet.note
  )
