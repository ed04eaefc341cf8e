"""Runs in one table: seeds together, and only what may be compared."""

import json
import subprocess
import sys

import pytest

from cinn_jax.evaluation.by_task.colorize import METRICS
from cinn_jax.evaluation.compare import compare
from cinn_jax.evaluation.tables import records, table


def _evaluated(folder, name, seed, rmse, bits, **changed):
  """A workdir with the evaluation of a run."""
  config = {
    "model": {"name": "cinn", "depth": changed.pop("depth", 2), "hidden": [4]},
    "train": {"seed": seed, "num_steps": 10},
    "data": {},
  }
  rows = {
    "one sample": table.Row({"single_rmse": (rmse, 1.0)}, "ours", 72, 1),
    "mean of n": table.Row(
      {"single_rmse": (rmse + 1, None), "variance": (3.0, None)}, "ours", 72, 4
    ),
    "no model": table.Row({"single_rmse": (20.0, None)}, "reference", 72, 1),
  }
  facts = {
    "likelihood": {"of": "RGB", "bits_per_dim": bits},
    "listing_hash": "abc",
    **{"source": "photos", "step": 10, "num_samples": 4, "temperature": 1.0},
    "config": config,
  }
  path = folder / name / "evaluation.json"
  records.write_json(path, rows, METRICS, **(facts | changed))
  return path.parent


def test_seeds_are_one_run(tmp_path, capsys):
  workdirs = [
    _evaluated(tmp_path, "a-0", 0, 10.0, 3.0),
    _evaluated(tmp_path, "b", 0, 8.0, 2.5, depth=4),
    _evaluated(tmp_path, "a-1", 1, 12.0, 3.5),
    _evaluated(tmp_path, "a-2", 2, 14.0, 4.0),
  ]
  lines = compare(workdirs, outputs=tmp_path / "out")
  assert lines == [
    [
      *("run", "row", "seeds", "n", "bits/dim"),
      *("RMSE of 1 [%]", "variance [1e-4]"),
    ],
    ["a-0", "one sample", "3", "1", "3.500 ± 0.50", "12.00 ± 2.0", "-"],
    ["a-0", "mean of n", "3", "4", "-", "13.00 ± 2.0", "3.000"],
    ["b", "one sample", "1", "1", "2.500", "8.000", "-"],
    ["b", "mean of n", "1", "4", "-", "9.000", "3.000"],
    ["-", "no model", "-", "1", "-", "20.00", "-"],
  ]
  said = capsys.readouterr().out
  assert (
    "- a-0: seeds 0 (a-0), 1 (a-1), 2 (a-2); step 10; model.depth=2" in said
  )
  assert "- b: seeds 0 (b); step 10; model.depth=4, temperature=1." in said
  assert "RMSE of the first sample" in said and "bits/dim is of RGB." in said
  files = {path.suffix: path for path in (tmp_path / "out").iterdir()}
  assert set(files) == {".md", ".tex", ".html"}
  text = {suffix: path.read_text() for suffix, path in files.items()}
  assert text[".md"] in said
  assert r"12.00 $\pm$ 2.0 & - \\" in text[".tex"]
  assert "<td class=number>12.00 ± 2.0</td>" in text[".html"]
  for content in text.values():
    assert "RMSE of the first sample" in content


def test_a_single_run_has_its_intervals(tmp_path, capsys):
  workdirs = [
    _evaluated(tmp_path, "a", 0, 10.0, 3.0),
    _evaluated(tmp_path, "b-0", 0, 8.0, 2.5, depth=4),
    _evaluated(tmp_path, "b-1", 1, 8.0, 2.5, depth=4),
  ]
  for workdir in workdirs:
    path = workdir / "evaluation.json"
    content = json.loads(path.read_text())
    for row in content["rows"].values():
      row["metrics"]["single_rmse"]["interval"] = [7.5, 30.0]
    content["likelihood"]["bits_per_dim_interval"] = [2.25, 4.0]
    path.write_text(json.dumps(content))
  lines = compare(workdirs, outputs=tmp_path / "out")
  bits = {line[0]: line[4] for line in lines if line[1] == "one sample"}
  assert bits == {"a": "3.000 [2.250, 4.000]", "b-0": "2.500"}
  numbers = {(line[0], line[1]): line[5] for line in lines}
  assert numbers["a", "one sample"] == "10.00 [7.500, 30.00]"
  assert numbers["b-0", "one sample"] == "8.000"
  assert numbers["a", "no model"] == "20.00 [7.500, 30.00]"
  assert "In brackets: 95 % intervals" in capsys.readouterr().out


def test_other_sampling_is_another_run(tmp_path):
  workdirs = [
    _evaluated(tmp_path, "a", 0, 10.0, 3.0),
    _evaluated(tmp_path, "b", 1, 12.0, 3.5, temperature=0.8),
  ]
  names = [line[0] for line in compare(workdirs, outputs=tmp_path / "out")]
  assert names == ["run", "a", "a", "b", "b", "-"]


def test_another_step_is_another_run_and_a_number_of_no_matter_which_type(
  tmp_path,
):
  workdirs = [
    _evaluated(tmp_path, "a", 0, 10.0, 3.0),
    _evaluated(tmp_path, "b", 1, 12.0, 3.5, step=9_000),
    _evaluated(tmp_path, "c", 1, 14.0, 4.0, temperature=1),
  ]
  lines = compare(workdirs, outputs=tmp_path / "out")
  assert [line[:3] for line in lines[1::2]] == [
    ["a", "one sample", "2"],
    ["b", "one sample", "1"],
    ["-", "no model", "-"],
  ]


def test_measures_of_one_name_have_columns_of_their_own(tmp_path):
  a = _evaluated(tmp_path, "a", 0, 10.0, 3.0)
  b = _evaluated(tmp_path, "b", 0, 30.0, 2.5, depth=4)
  path = b / "evaluation.json"
  content = json.loads(path.read_text())
  content["metrics"]["single_rmse"]["protocol"] = "RMSE of what was enlarged"
  path.write_text(json.dumps(content))
  head, *lines = compare([a, b], outputs=tmp_path / "out")
  first, second = head.index("RMSE of 1 [%]"), head.index("RMSE of 1 (2) [%]")
  shown = {
    line[0]: (line[first], line[second])
    for line in lines
    if line[1] == "one sample"
  }
  assert shown == {"a": ("10.00", "-"), "b": ("-", "30.00")}
  said = (tmp_path / "out" / "comparison.md").read_text()
  assert "- RMSE of 1: RMSE of the first sample" in said
  assert "- RMSE of 1 (2): RMSE of what was enlarged" in said


def test_a_number_that_some_seeds_lack_says_so(tmp_path):
  a = _evaluated(tmp_path, "a-0", 0, 10.0, 3.0)
  b = _evaluated(tmp_path, "a-1", 1, 12.0, 3.5)
  path = b / "evaluation.json"
  content = json.loads(path.read_text())
  del content["rows"]["mean of n"]["metrics"]["variance"]
  path.write_text(json.dumps(content))
  lines = compare([a, b], outputs=tmp_path / "out")
  assert lines[2][-1] == "3.000 (1 of 2 seeds)"


def test_pictures_made_alike_are_compared_however_that_is_written(tmp_path):
  workdirs = [
    _evaluated(tmp_path, "a", 0, 10.0, 3.0),
    _evaluated(tmp_path, "b", 1, 12.0, 3.5),
  ]
  settings = ({"image_size": 64}, {}), ({"image_size": [64, 64]}, {"crop": []})
  for workdir, (task, data) in zip(workdirs, settings, strict=True):
    path = workdir / "evaluation.json"
    content = json.loads(path.read_text())
    content["config"].update(task=task, data=data)
    path.write_text(json.dumps(content))
  names = [line[0] for line in compare(workdirs, outputs=tmp_path / "out")]
  assert names == ["run", "a", "a", "b", "b", "-"]


@pytest.mark.parametrize("setting", ["data.crop", "task.image_size"])
def test_pictures_made_otherwise_are_refused(tmp_path, setting):
  a = _evaluated(tmp_path, "a", 0, 10.0, 3.0)
  b = _evaluated(tmp_path, "b", 1, 12.0, 3.5)
  path = b / "evaluation.json"
  content = json.loads(path.read_text())
  section, name = setting.split(".")
  content["config"].setdefault(section, {})[name] = [1, 2]
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match=rf"{setting}=.*, b with .*=\[1, 2\]"):
    compare([a, b], outputs=tmp_path / "out")


def test_reference_rows_that_differ_say_whose_they_are(tmp_path):
  a = _evaluated(tmp_path, "a", 0, 10.0, 3.0)
  b = _evaluated(tmp_path, "b", 0, 8.0, 2.5, depth=4)
  rows, metrics, content = records.read_json(b / "evaluation.json")
  rows["no model"].metrics["single_rmse"] = (30.0, None)
  facts = {k: v for k, v in content.items() if k not in ("rows", "metrics")}
  for made in ("hardware", "versions"):
    facts.pop(made)
  records.write_json(b / "evaluation.json", rows, metrics, **facts)
  lines = compare([a, b], outputs=tmp_path / "out")
  assert [line[0] for line in lines[-2:]] == ["a", "b"]


def test_folders_of_one_name(tmp_path):
  a = _evaluated(tmp_path / "x", "run", 0, 10.0, 3.0)
  b = _evaluated(tmp_path / "y", "run", 0, 8.0, 2.5, depth=4)
  lines = compare([a, b], outputs=tmp_path / "out")
  assert {line[0] for line in lines[1:]} == {str(a), str(b), "-"}


def test_what_may_not_be_compared_is_refused(tmp_path):
  a = _evaluated(tmp_path, "a", 0, 10.0, 3.0)
  with pytest.raises(ValueError, match="nothing to compare"):
    compare([])
  with pytest.raises(
    FileNotFoundError, match="run --mode=evaluate on it first"
  ):
    compare([a, tmp_path / "none"])
  same = _evaluated(tmp_path, "b", 0, 10.0, 3.0)
  with pytest.raises(
    ValueError, match="a and b are runs of one config and seed"
  ):
    compare([a, same])
  other = _evaluated(
    tmp_path, "c", 1, 1.0, 1.0, listing_hash="d", source="digits"
  )
  with pytest.raises(
    ValueError, match="a was evaluated on photos, c on digits"
  ):
    compare([a, other])


def test_the_command(tmp_path):
  workdir = _evaluated(tmp_path, "a", 0, 10.0, 3.0)
  command = [sys.executable, "-m", "cinn_jax.main", "--mode=compare"]
  for arguments, code, said in (
    (
      [f"--workdirs={workdir}", f"--outputs={tmp_path}"],
      0,
      "| a   | one sample",
    ),
    ([], 1, "pass --workdirs=A,B"),
  ):
    result = subprocess.run(
      [*command, *arguments], capture_output=True, text=True
    )
    assert result.returncode == code
    assert said in result.stdout + result.stderr
