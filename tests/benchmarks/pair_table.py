"""The rows of `pair_comparison.py` as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cinn_jax.evaluation.by_task import judging
from cinn_jax.evaluation.tables import markup

# Columns: title, row of the evaluation, metric, digits after the point.
_COLUMNS = (
  ("PSNR", judging.MEAN, "psnr", 2),
  ("LPIPS", judging.MEAN, "lpips", 3),
  ("PSNR, likeliest", judging.LIKELIEST, "psnr", 2),
  ("KID, 1e-3", judging.ONE, "kid", 1),
  ("FID", judging.ONE, "fid_matching", 1),
  ("pixel std", judging.MEAN, "pixel_std", 1),
  ("LPIPS of pairs", judging.MEAN, "pairwise_lpips", 3),
  ("coverage of 50 %", judging.MEAN, "coverage_50", 0),
)
_ABSENT = "-"
_NOTE = (
  "bits/dim is in 8-bit levels. Numbers are means over seeds. Brackets hold"
  " 95 % intervals, by resampling the pictures, and for KID by the jackknife;"
  " parentheses hold the range over seeds."
)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns a table for each task, number of steps, batch size and sampling.

  It has a line per model and temperature. A number is the mean over seeds.
  After it come the mean of their 95 % intervals over pictures and, if there are
  several seeds, their range.
  """
  parts = []
  for kind in dict.fromkeys(map(_kind, rows)):
    own = [row for row in rows if _kind(row) == kind]
    parts += [f"**{kind[0]}**{_facts(own)}", "", _table(own), ""]
  return "\n".join([*parts, _NOTE]) if parts else "There are no rows yet."


def _kind(row):
  settings = ("steps", "batch_size", "num_samples", "temperatures", "limit")
  return row["task"], *(row.get(name) for name in settings)


def _facts(rows):
  measured = [row for row in rows if "pictures" in row]
  if not measured:
    return ""
  first = measured[0]
  halves = first["real_halves_fid"]
  return (
    f": {first['steps']:,} steps of {first['batch_size']} pictures,"
    f" {first['pictures']} test pictures, {first['num_samples']} samples each;"
    f" FID and KID of {first['pictures']} pictures"
    + (f"; FID of real halves {halves:.1f}." if halves is not None else ".")
  )


def _table(rows):
  head = ["model", "temperature", "seeds", "bits/dim"]
  lines = [[*head, *(title for title, *_ in _COLUMNS)]]
  for model in dict.fromkeys(row["model"] for row in rows):
    runs = [row for row in rows if row["model"] == model]
    done = [row for row in runs if "rows" in row]
    seeds = str(len(done))
    if len(done) < len(runs):
      seeds += f" ({len(runs) - len(done)} diverged)"
    if not done:
      lines.append([model, _ABSENT, seeds, *[_ABSENT] * (len(_COLUMNS) + 1)])
      continue
    scales = done[0]["temperatures"].split(",")
    for scale in scales:
      bits = _bits(done) if scale == scales[0] else ""
      suffix = f", temperature {scale}" if len(scales) > 1 else ""
      cells = [
        _cell(
          [run["rows"][f"{row}{suffix}"].get(metric) for run in done], digits
        )
        for _, row, metric, digits in _COLUMNS
      ]
      lines.append([model, scale, seeds, bits, *cells])
  reference = next((row for row in rows if "rows" in row), None)
  if reference and judging.NO_MODEL in reference["rows"]:
    own = reference["rows"][judging.NO_MODEL]
    cells = [
      _cell([own.get(metric)], digits) for *_, metric, digits in _COLUMNS
    ]
    lines.append([judging.NO_MODEL, _ABSENT, _ABSENT, _ABSENT, *cells])
  return markup.markdown(lines)


def _bits(runs):
  measured = [
    [
      run["likelihood"]["bits_per_dim_of_unscaled_data"],
      *(
        bound
        + run["likelihood"]["bits_per_dim_of_unscaled_data"]
        - run["likelihood"]["bits_per_dim"]
        for bound in run["likelihood"]["bits_per_dim_interval"] or ()
      ),
    ]
    for run in runs
  ]
  return _cell(measured, 3)


def _cell(measured, digits):
  """Formats [value, low, high] of several seeds."""
  if not measured or any(numbers is None for numbers in measured):
    return _ABSENT
  values = [numbers[0] for numbers in measured]
  text = f"{np.mean(values):.{digits}f}"
  if all(len(numbers) == 3 for numbers in measured):
    low, high = np.mean([numbers[1:] for numbers in measured], axis=0)
    text += f" [{low:.{digits}f}, {high:.{digits}f}]"
  if len(values) > 1:
    text += f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
  return text
