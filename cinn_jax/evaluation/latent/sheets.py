"""`--mode=latent`: what a trained run's latent space knows, as pictures."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.evaluation.latent import moves
from cinn_jax.evaluation.latent.subject import subject_of
from cinn_jax.images import color, sheets, writing
from cinn_jax.runtime import storage
from cinn_jax.workdir.trained import restore

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SAMPLED_AT = (0.6, 0.8, 1.0)
# Standard deviations of a principal axis (published code).
POSITIONS = (-8, -6, -4, -2, 0, 2, 4, 6, 8)
AXES = 3
# The share of chance in a reference's latents, finest level first (published
# code); levels that follow keep what the reference has.
SHARES = (1.0, 0.7)
_COLUMNS = 8


class Sheet(NamedTuple):
  """x [rows, columns, ...] under conditions of the same leading shape."""

  x: np.ndarray
  conds: np.ndarray
  columns: list[str]
  rows: list[str]
  note: str


def draw_latent_sheets(workdir, *, outputs=None, data=None, seed=0):
  """Draws what the latent space of a trained run knows.

  Writes contact sheets to `outputs`, by default `workdir/latent`: samples at
  several temperatures; one latent under all conditions; style transfer (a
  picture encoded under its own condition and decoded under all others; of
  several levels, the finer ones mostly drawn anew: colour transfer);
  interpolation; temperature; principal axes; one level drawn at a time; and a
  plane of latents. Settings in `data` override those of the run's config, for
  other pictures.

  Returns the paths.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  subject = subject_of(restore(workdir, data), seed)
  render = jax.jit(jax.vmap(subject.task.render))
  folder = storage.path(outputs or storage.path(workdir) / "latent")
  paths = []
  for name, make in SHEETS.items():
    for k, sheet in enumerate(make(subject)):
      path = folder / (f"{name}_{k + 1}.png" if k else f"{name}.png")
      writing.save_png(path, _contact_sheet(sheet, render))
      print(f"Wrote {path}: {sheet.note}.")
      paths.append(path)
  return paths


def _by_condition(s, z, columns, note):
  """A row for each condition, a column for each of the latents [V, ...]."""
  x = s.decode(z)
  conds = np.repeat(s.conds[:, None], x.shape[1], axis=1)
  return Sheet(x, conds, columns, s.titles, note)


def _samples(s):
  drawn = s.draw(0, _COLUMNS, len(s.conds))
  for temperature in SAMPLED_AT:
    yield _by_condition(
      s,
      jax.tree.map(lambda leaf, t=temperature: t * leaf, drawn),
      [f"sample {k + 1}" for k in range(_COLUMNS)],
      f"samples at temperature {temperature:g}",
    )


def _conditions(s):
  names = [f"latent {k + 1}" for k in range(_COLUMNS)]
  yield _by_condition(
    s,
    s.draw(1, _COLUMNS),
    names,
    "one latent a column, one condition a row",
  )


def _temperatures(s):
  one = jax.tree.map(lambda leaf: leaf[0], s.draw(2, 1))
  names = [f"{temperature:g}" for temperature in TEMPERATURES]
  z = moves.scale(one, TEMPERATURES)
  yield _by_condition(s, z, names, "one latent at rising temperature")


def _interpolation(s):
  start, end = (
    jax.tree.map(lambda leaf, k=k: leaf[k], s.draw(3, 2)) for k in (0, 1)
  )
  names = [f"{k / _COLUMNS:g}" for k in range(_COLUMNS + 1)]
  z = moves.interpolate(start, end, _COLUMNS + 1)
  yield _by_condition(s, z, names, "from one latent to another")


def _axes(s):
  found = moves.principal_axes(s.latents, AXES)
  for k, share in enumerate(found.variance_ratio):
    yield _by_condition(
      s,
      found.walk({k: 1.0}, POSITIONS),
      [str(position) for position in POSITIONS],
      f"along principal axis {k + 1} of the latents ({100 * share:.1f} % of"
      " their variance), in standard deviations",
    )


def _transfer(s):
  shares = _shares(s.latents)
  z, _ = s.flow.forward(s.variables, s.x, s.conds)
  chance = jax.tree.map(lambda leaf: leaf[0], s.draw(4, 1, len(s.conds)))
  decoded = moves.across_conditions(
    s.flow, s.variables, moves.mix(z, chance, shares), s.conds
  )
  targets = np.repeat(s.conds[None], len(s.conds), axis=0)
  yield Sheet(
    np.concatenate([s.x[:, None], decoded], axis=1),
    np.concatenate([s.conds[:, None], targets], axis=1),
    ["reference", *s.titles],
    s.titles,
    "the style of each row's reference under the condition of each column"
    + (f"; chance by level {shares}" if any(shares) else ""),
  )


def _shares(latents):
  levels = len(jax.tree.leaves(latents))
  if levels == 1:
    return (0.0,)
  kept = SHARES[: levels - 1]
  return (*kept, *(0.0,) * (levels - len(kept)))


def _levels(s):
  drawn = s.draw(5, _COLUMNS)
  zero = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), drawn)
  levels = len(jax.tree.leaves(zero))
  if levels == 1:
    return
  chosen = np.arange(min(2, len(s.conds)))
  x = [
    s.decode(moves.resample(zero, drawn, level), chosen)
    for level in range(levels)
  ]
  conds = np.repeat(s.conds[chosen][:, None], _COLUMNS, axis=1)
  yield Sheet(
    np.concatenate(x),
    np.concatenate([conds] * levels),
    [f"draw {k + 1}" for k in range(_COLUMNS)],
    [f"level {k}" for k in range(levels) for _ in chosen],
    "one level drawn, the others zero; level 0 is the finest",
  )


def _grid(s):
  first, second = (
    jax.tree.map(lambda leaf, k=k: leaf[k], s.draw(6, 2)) for k in (0, 1)
  )
  middle = np.array([len(s.conds) // 2])
  plane = s.decode(moves.grid(first, second), middle)[0]
  side = math.isqrt(len(plane))
  yield Sheet(
    plane.reshape(side, side, *plane.shape[1:]),
    np.broadcast_to(s.conds[middle], (side, side, *s.conds.shape[1:])),
    [""] * side,
    [""] * side,
    f"a plane of latents under condition {s.titles[middle[0]]}; zero in the"
    " middle",
  )


# What `--mode=latent` draws: each makes the sheets of one name.
SHEETS: dict[str, Callable] = {
  "samples": _samples,
  "conditions": _conditions,
  "transfer": _transfer,
  "interpolation": _interpolation,
  "temperatures": _temperatures,
  "axes": _axes,
  "levels": _levels,
  "grid": _grid,
}


def _contact_sheet(sheet, render):
  shown = np.asarray(color.to_uint8(render(sheet.x, sheet.conds)))
  return sheets.contact_sheet(
    list(shown), sheet.columns, sheet.rows, note=sheet.note
  )
