"""The rows of `claims.py` as Markdown."""

from collections.abc import Sequence

import numpy as np
from result_rows import Row

from cinn_jax.evaluation.tables import markup

_ABSENT = "-"
# Columns: title, measure, digits after the point.
_PHOTOGRAPHS = (
  ("RMSE of 1", "rmse_of_one", 1),
  ("best of 8", "rmse_of_best", 1),
  ("mean of 8", "rmse_of_mean", 1),
  ("LPIPS", "lpips", 3),
  ("KID, 1e-3", "kid", 0),
  ("pixel std", "pixel_std", 1),
  ("LPIPS of pairs", "lpips_of_pairs", 3),
  ("energy score", "energy_score", 2),
  ("coverage of 50 %", "coverage_50", 0),
  ("coverage of 90 %", "coverage_90", 0),
  ("distinct, %", "distinct", 0),
)
_DIGITS = (
  ("as asked, %", "classified_as_asked", 1),
  ("spread, %", "spread", 1),
  ("precision, %", "precision", 1),
  ("recall, %", "recall", 1),
  ("RMSE of 1", "rmse_of_one", 1),
  ("best of 8", "rmse_of_best", 1),
  ("energy score", "energy_score", 2),
  ("distinct, %", "distinct", 0),
)
NOTE = (
  "RMSE, pixel std and energy score are in 8-bit levels; the energy score is"
  " lowest for samples from the true distribution. bits/dim are exact for"
  " flows, and an upper bound for VAEs, from 64 draws of the code; models"
  " without a likelihood have -. In colorize, CAFLOW's are those of RGB, all"
  " others of ab."
)


def markdown(rows: Sequence[Row]) -> str:
  """Returns a table for each task and budget, a line per method."""
  parts = []
  for task, minutes in dict.fromkeys((r["task"], r["minutes"]) for r in rows):
    own = [r for r in rows if (r["task"], r["minutes"]) == (task, minutes)]
    first = own[0]
    parts += [
      f"**{task}**: {minutes:g} minutes of processor time per run,"
      f" {first['trial'] * minutes:g} for each rate,"
      f" {first['test_pictures']} test pictures",
      "",
      markup.markdown(
        _lines(own, _DIGITS if task == "digits" else _PHOTOGRAPHS)
      ),
      "",
    ]
  return "\n".join([*parts, NOTE]) if parts else "There are no rows yet."


def _lines(rows, columns):
  lines = [
    ["method", "seeds", "parameters", "bits/dim", *(t for t, *_ in columns)]
  ]
  for method in dict.fromkeys(row["method"] for row in rows):
    runs = [row for row in rows if row["method"] == method]
    failed = [row for row in runs if row["failed"]]
    seeds = str(len(runs))
    if failed:
      reasons = "; ".join(dict.fromkeys(row["failed"] for row in failed))
      seeds += f" ({len(failed)} failed: {reasons})"
    bits = cell([row["bits_per_dim"] for row in runs], 3)
    facts = [f"{runs[0]['parameters']:,}", bits]
    lines.append([method, seeds, *facts, *_cells(runs, "measures", columns)])
    if all("measures_of_means" in row for row in runs):
      more = _cells(runs, "measures_of_means", columns)
      lines.append(
        [f"{method}, without pixel noise", seeds, facts[0], _ABSENT, *more]
      )
  measured = [row for row in rows if row["measures"]]
  if measured:
    name = "rmse_without_model"
    plain = cell([measured[0]["measures"].get(name)], 1)
    cells = [
      plain if measure == "rmse_of_one" else _ABSENT
      for _, measure, _ in columns
    ]
    real = measured[0]["measures"].get("spread_of_real")
    if real is not None:
      cells[1] = f"{real:.1f} (real)"
    lines.append(["no model", _ABSENT, _ABSENT, _ABSENT, *cells])
  return lines


def _cells(runs, part, columns):
  return [
    cell([run[part].get(measure) for run in runs], digits)
    for _, measure, digits in columns
  ]


def cell(values: Sequence[float | None], digits: int) -> str:
  """Formats the mean over seeds, and their range if there are several."""
  known = [value for value in values if value is not None]
  if not known:
    return _ABSENT
  text = f"{np.mean(known):.{digits}f}"
  if len(known) > 1:
    text += f" ({min(known):.{digits}f} to {max(known):.{digits}f})"
  return text
