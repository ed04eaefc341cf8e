"""`--mode=compare`: many runs in one table; runs of several seeds as one."""

import collections
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from cinn_jax.evaluation.tables import markup, records, table
from cinn_jax.evaluation.tables.page import Page
from cinn_jax.images.crops import height_and_width
from cinn_jax.runtime import storage
from cinn_jax.sampling import temperatures
from cinn_jax.workdir.results_folder import results_folder

_ABSENT = "-"
# Settings that change the pictures of equal files, each with a function that
# gives every way to write it one form.
_PICTURE_SETTINGS: dict[str, Callable] = {
  "data.crop": lambda cut: list(cut or ()),
  "data.resize": lambda size: list(size or ()),
  "task.image_size": lambda size: size and list(height_and_width(size)),
}


class Run(NamedTuple):
  """The `evaluation.json` of a workdir.

  Attributes:
    name: Name of the workdir.
    rows: Rows of its table. Their metrics have `table.Metric` for a key instead
      of a name, since tasks may measure different things by one name.
    content: Everything in the file.
  """

  name: str
  rows: dict[str, table.Row]
  content: dict[str, Any]

  @property
  def seed(self) -> int:
    """The seed of training."""
    return self.content["config"]["train"]["seed"]

  @property
  def settings(self) -> dict[str, Any]:
    """The config without its seed, flat: `{"model.depth": 4, ...}`."""
    flat = traverse_util.flatten_dict(self.content["config"], sep=".")
    return {k: v for k, v in flat.items() if k != "train.seed"}


def compare(
  workdirs: Sequence[str | os.PathLike], *, outputs: str | os.PathLike = "out"
) -> list[list[str]]:
  """Prints a table of evaluated runs, and writes it to three files.

  The files are `comparison.md`, `.tex` and `.html` in `outputs`. Runs that
  differ in their seed alone, evaluated in the same way, become one: the mean
  over seeds and its standard deviation (divisor one less than the number of
  seeds). A single run has its intervals over images. A reference row that is
  the same for all runs is printed once.

  Returns:
    The table, as rows of text.

  Raises:
    FileNotFoundError: for a run that was not evaluated.
    ValueError: for runs that were evaluated on different pictures, for two runs
      of one config and seed, and for no runs.
  """
  runs = [_read(workdir) for workdir in workdirs]
  _check(runs)
  if len({run.name for run in runs}) < len(runs):
    runs = [
      run._replace(name=str(workdir))
      for run, workdir in zip(runs, workdirs, strict=True)
    ]
  groups = _group(runs)
  lines = _table(groups)
  notes = [*_differences(groups), *_protocol(runs)]
  if any("[" in cell for line in lines[1:] for cell in line[4:]):
    notes.append(table.BRACKETS)
  folder = storage.path(outputs)
  text = "\n".join([markup.markdown(lines), "", *(f"- {n}" for n in notes)])
  storage.write_whole(folder / "comparison.md", f"{text}\n".encode())
  latex = "\n".join([*(f"% {n}" for n in notes), markup.latex(lines), ""])
  storage.write_whole(folder / "comparison.tex", latex.encode())
  page = Page("Comparison")
  page.table(lines)
  page.items(notes)
  page.write(folder / "comparison.html")
  print(f"{text}\nWritten to {folder}/comparison.md, .tex and .html.")
  return lines


def _read(workdir: str | os.PathLike) -> Run:
  path = results_folder(workdir)
  if not (path / "evaluation.json").exists():
    raise FileNotFoundError(
      f"{path} has no evaluation.json: run --mode=evaluate on it first."
    )
  rows, metrics, content = records.read_json(path / "evaluation.json")
  if "config" not in content or "temperatures" not in content:
    raise ValueError(
      f"{path} was evaluated by an older version: run --mode=evaluate again."
    )
  rows = {name: _by_metric(row, metrics) for name, row in rows.items()}
  return Run(path.name, rows, content)


def _by_metric(row, metrics):
  """Replaces the names of metrics by the metrics themselves."""
  values = {metrics[k]: v for k, v in row.metrics.items()}
  intervals = {metrics[k]: v for k, v in (row.intervals or {}).items()}
  return row._replace(metrics=values, intervals=intervals or None)


def _check(runs: Sequence[Run]) -> None:
  if not runs:
    raise ValueError("There is nothing to compare: pass --workdirs=A,B.")
  first = runs[0]
  for run in runs[1:]:
    if run.content["listing_hash"] != first.content["listing_hash"]:
      raise ValueError(
        f"{first.name} was evaluated on {first.content['source']}, {run.name}"
        f" on {run.content['source']}: evaluate all on the same pictures."
      )
    for setting, normal in _PICTURE_SETTINGS.items():
      one, other = (normal(each.settings.get(setting)) for each in (first, run))
      if one != other:
        raise ValueError(
          f"{first.name} was evaluated with {setting}={one}, {run.name} with"
          f" {setting}={other}: evaluate all on the same pictures."
        )


def _group(runs: Sequence[Run]) -> dict[str, list[Run]]:
  """Groups runs of one config, step and sampling, by the first run's name."""
  groups = collections.defaultdict(list)
  for run in runs:
    sampling = [run.content[k] for k in ("step", "num_samples")]
    sampling += [temperatures.names(run.content["temperatures"])]
    groups[json.dumps([run.settings, sampling], sort_keys=True)].append(run)
  for members in groups.values():
    if len({run.seed for run in members}) < len(members):
      names = " and ".join(run.name for run in members)
      raise ValueError(
        f"{names} are runs of one config and seed: pass only one of them."
      )
  return {members[0].name: members for members in groups.values()}


def _table(groups):
  metrics = _titles([run for members in groups.values() for run in members])
  titles = [f"{title} [{metric.unit}]" for metric, title in metrics.items()]
  head = ["run", "row", "seeds", "n", "bits/dim", *titles]
  lines, references = [head], {}
  for name, members in groups.items():
    bits = _bits_per_dim([run.content["likelihood"] for run in members])
    for row in members[0].rows:
      rows = [run.rows[row] for run in members if row in run.rows]
      counts = [str(len(rows)), str(rows[0].samples or _ABSENT)]
      numbers = [_number(rows, metric) for metric in metrics]
      if rows[0].mark != "ours":
        references.setdefault((row, *counts[1:], *numbers), []).append(name)
        continue
      lines.append([name, row, *counts, bits, *numbers])
      bits = _ABSENT
  for (row, n, *numbers), names in references.items():
    owner = _ABSENT if len(names) == len(groups) else ", ".join(names)
    lines.append([owner, row, _ABSENT, n, _ABSENT, *numbers])
  return lines


def _bits_per_dim(likelihoods):
  if any("bits_per_dim" not in scores for scores in likelihoods):
    return _ABSENT
  values = [scores["bits_per_dim"] for scores in likelihoods]
  interval = likelihoods[0].get("bits_per_dim_interval")
  if len(values) == 1 and interval:
    return table.with_interval(*values, interval)
  return _spread(values)


def _number(rows, metric):
  values = [row.metrics[metric][0] for row in rows if metric in row.metrics]
  if len(rows) == 1 and (interval := (rows[0].intervals or {}).get(metric)):
    return table.with_interval(*values, interval)
  text = _spread(values)
  if 0 < len(values) < len(rows):
    text += f" ({len(values)} of {len(rows)} seeds)"
  return text


def _spread(values: Sequence[float]) -> str:
  """Formats the mean and the standard deviation over seeds."""
  if not values:
    return _ABSENT
  mean = table.in_digits(float(np.mean(values)))
  if len(values) == 1 or np.ptp(values) == 0:
    return mean
  return f"{mean} ± {table.in_digits(float(np.std(values, ddof=1)), 2)}"


def _differences(groups: dict[str, list[Run]]) -> Iterator[str]:
  """Lists the settings in which the groups differ, one line per group."""
  settings = {name: members[0].settings for name, members in groups.items()}
  names = {k: None for values in settings.values() for k in values}
  varying = [
    k
    for k in names
    if len({json.dumps(v.get(k, _ABSENT)) for v in settings.values()}) > 1
  ]
  for name, members in groups.items():
    seeds = ", ".join(f"{run.seed} ({run.name})" for run in members)
    step = members[0].content["step"]
    facts = [f"{k}={settings[name].get(k, _ABSENT)}" for k in varying]
    several = temperatures.names(members[0].content["temperatures"])
    facts.append(f"temperature={several}")
    yield f"{name}: seeds {seeds}; step {step:,}; {', '.join(facts)}."


def _titles(runs: Iterable[Run]) -> dict[Any, str]:
  """Returns the title of every metric; equal titles are numbered."""
  rows = (row for run in runs for row in run.rows.values())
  metrics: Iterable[Any] = dict.fromkeys(k for row in rows for k in row.metrics)
  counts: collections.Counter[str] = collections.Counter()
  titles = {}
  for metric in metrics:
    counts[metric.title] += 1
    number = counts[metric.title]
    titles[metric] = metric.title + (f" ({number})" if number > 1 else "")
  return titles


def _protocol(runs: Sequence[Run]) -> Iterator[str]:
  first = runs[0].content
  data = {run.content["likelihood"]["of"]: None for run in runs}
  yield f"Pictures: {first['source']}, listing {first['listing_hash']}."
  yield f"bits/dim is of {'; or of '.join(data)}."
  kinds = [run.content["likelihood"] for run in runs]
  if any("bits_per_dim" not in scores for scores in kinds):
    yield f"bits/dim {_ABSENT}: the model has no likelihood."
  if any("error" in scores and "bits_per_dim" in scores for scores in kinds):
    yield "bits/dim of a conditional VAE is an upper bound, by one draw."
  yield "For several seeds: mean ± standard deviation over them."
  for metric, title in _titles(runs).items():
    yield f"{title}: {metric.protocol}; over images: {metric.reduction}."
