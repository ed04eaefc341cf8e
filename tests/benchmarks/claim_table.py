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
# Measures that real pictures have, too.
_REAL = {"classified_as_asked": "classified_real", "spread": "spread_of_real"}
NOTE = (
  "RMSE, pixel std and energy score are in 8-bit levels; the energy score is"
  " lowest for samples from the true distribution. Coverage is of intervals of"
  " the means of 4x4 regions, from 20 samples. bits/dim are exact for flows,"
  " and an upper bound for VAEs, from 64 draws of the code; models without a"
  " likelihood have -. In colorize, CAFLOW's are those of RGB in 8-bit levels,"
  " all others of ab in Lab units. A GAN's parameters include those of its"
  " discriminator."
)


def markdown(rows: Sequence[Row]) -> str:
  """Returns a table for each task and budget, a line per method."""
  parts = []
  for kind in dict.fromkeys(map(_kind, rows)):
    own = [row for row in rows if _kind(row) == kind]
    first, task, minutes = own[0], *kind[:2]
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


def _kind(row):
  return row["task"], row["minutes"], row["trial"], row.get("limit", 0)


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
  return lines + _without_a_model(rows, columns)


def _without_a_model(rows, columns):
  """Returns a line for each answer without a model: tasks may differ in it."""
  methods: dict[str, list[str]] = {}
  for row in rows:
    if row["measures"]:
      plain = cell([row["measures"]["rmse_without_model"]], 1)
      methods.setdefault(plain, []).append(row["method"])
  lines = []
  for plain, names in methods.items():
    name = "no model"
    if len(methods) > 1:
      name += f" ({', '.join(dict.fromkeys(names))})"
    cells = [
      plain if measure == "rmse_of_one" else _real(rows, measure)
      for _, measure, _ in columns
    ]
    lines.append([name, _ABSENT, _ABSENT, _ABSENT, *cells])
  return lines


def _real(rows, measure):
  """Returns a measure of the real pictures, if there is one."""
  name = _REAL.get(measure)
  found = [r["measures"][name] for r in rows if name in r["measures"]]
  return f"{found[0]:.1f} (real)" if found else _ABSENT


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
