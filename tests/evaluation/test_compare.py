"""Tables of several runs: groups of seeds, and runs that cannot be compared."""

import json
import subprocess
import sys

import pytest

from cinn_jax.evaluation.compare import compare
from cinn_jax.evaluation.tables import records, table
from tests.support.tables import METRICS


def _write_run(folder, name, seed, rmse, bits, **facts):
  """Writes a workdir with the evaluation of a run."""
  config = {
    "model": {"name": "cinn", "depth": facts.pop("depth", 2), "hidden": [4]},
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
  defaults = {
    "likelihood": {"of": "RGB", "bits_per_dim": bits},
    "listing_hash": "abc",
    "source": "photos",
    "step": 10,
    "num_samples": 4,
    "temperatures": [1.0],
    "config": config,
  }
  path = folder / name / "evaluation.json"
  records.write_json(path, rows, METRICS, **(defaults | facts))
  return path.parent


def test_seeds_become_one_run(tmp_path, capsys):
  workdirs = [
    _write_run(tmp_path, "a-0", 0, 10.0, 3.0),
    _write_run(tmp_path, "b", 0, 8.0, 2.5, depth=4),
    _write_run(tmp_path, "a-1", 1, 12.0, 3.5),
    _write_run(tmp_path, "a-2", 2, 14.0, 4.0),
  ]
  lines = compare(workdirs, outputs=tmp_path / "out")
  assert lines == [
    [
      "run",
      "row",
      "seeds",
      "n",
      "bits/dim",
      "RMSE of 1 [%]",
      "variance [1e-4]",
    ],
    ["a-0", "one sample", "3", "1", "3.500 ± 0.50", "12.00 ± 2.0", "-"],
    ["a-0", "mean of n", "3", "4", "-", "13.00 ± 2.0", "3.000"],
    ["b", "one sample", "1", "1", "2.500", "8.000", "-"],
    ["b", "mean of n", "1", "4", "-", "9.000", "3.000"],
    ["-", "no model", "-", "1", "-", "20.00", "-"],
  ]
  out = capsys.readouterr().out
  assert "- a-0: seeds 0 (a-0), 1 (a-1), 2 (a-2); step 10; model.depth=2" in out
  assert "- b: seeds 0 (b); step 10; model.depth=4, temperature=1." in out
  assert "RMSE of the first sample" in out and "bits/dim is of RGB." in out
  files = {path.suffix: path for path in (tmp_path / "out").iterdir()}
  assert set(files) == {".md", ".tex", ".html"}
  text = {suffix: path.read_text() for suffix, path in files.items()}
  assert text[".md"] in out
  assert r"12.00 $\pm$ 2.0 & - \\" in text[".tex"]
  assert "<td class=number>12.00 ± 2.0</td>" in text[".html"]
  for content in text.values():
    assert "RMSE of the first sample" in content


def test_single_run_has_its_intervals(tmp_path, capsys):
  workdirs = [
    _write_run(tmp_path, "a", 0, 10.0, 3.0),
    _write_run(tmp_path, "b-0", 0, 8.0, 2.5, depth=4),
    _write_run(tmp_path, "b-1", 1, 8.0, 2.5, depth=4),
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


def test_other_sampling_makes_another_run(tmp_path):
  workdirs = [
    _write_run(tmp_path, "a", 0, 10.0, 3.0),
    _write_run(tmp_path, "b", 1, 12.0, 3.5, temperatures=[0.8]),
  ]
  names = [line[0] for line in compare(workdirs, outputs=tmp_path / "out")]
  assert names == ["run", "a", "a", "b", "b", "-"]


def test_another_step_makes_another_run(tmp_path):
  workdirs = [
    _write_run(tmp_path, "a", 0, 10.0, 3.0),
    _write_run(tmp_path, "b", 1, 12.0, 3.5, step=9_000),
    _write_run(tmp_path, "c", 1, 14.0, 4.0, temperatures=[1]),
  ]
  lines = compare(workdirs, outputs=tmp_path / "out")
  assert [line[:3] for line in lines[1::2]] == [
    ["a", "one sample", "2"],
    ["b", "one sample", "1"],
    ["-", "no model", "-"],
  ]


def test_different_metrics_of_one_name_have_two_columns(tmp_path):
  a = _write_run(tmp_path, "a", 0, 10.0, 3.0)
  b = _write_run(tmp_path, "b", 0, 30.0, 2.5, depth=4)
  path = b / "evaluation.json"
  content = json.loads(path.read_text())
  content["metrics"]["single_rmse"]["protocol"] = "RMSE of what was enlarged"
  path.write_text(json.dumps(content))
  head, *lines = compare([a, b], outputs=tmp_path / "out")
  first, second = head.index("RMSE of 1 [%]"), head.index("RMSE of 1 (2) [%]")
  cells = {
    line[0]: (line[first], line[second])
    for line in lines
    if line[1] == "one sample"
  }
  assert cells == {"a": ("10.00", "-"), "b": ("-", "30.00")}
  out = (tmp_path / "out" / "comparison.md").read_text()
  assert "- RMSE of 1: RMSE of the first sample" in out
  assert "- RMSE of 1 (2): RMSE of what was enlarged" in out


def test_cell_says_if_some_seeds_lack_a_number(tmp_path):
  a = _write_run(tmp_path, "a-0", 0, 10.0, 3.0)
  b = _write_run(tmp_path, "a-1", 1, 12.0, 3.5)
  path = b / "evaluation.json"
  content = json.loads(path.read_text())
  del content["rows"]["mean of n"]["metrics"]["variance"]
  path.write_text(json.dumps(content))
  lines = compare([a, b], outputs=tmp_path / "out")
  assert lines[2][-1] == "3.000 (1 of 2 seeds)"


def test_equal_settings_in_other_words_are_compared(tmp_path):
  workdirs = [
    _write_run(tmp_path, "a", 0, 10.0, 3.0),
    _write_run(tmp_path, "b", 1, 12.0, 3.5),
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
def test_other_picture_settings_raise(tmp_path, setting):
  a = _write_run(tmp_path, "a", 0, 10.0, 3.0)
  b = _write_run(tmp_path, "b", 1, 12.0, 3.5)
  path = b / "evaluation.json"
  content = json.loads(path.read_text())
  section, name = setting.split(".")
  content["config"].setdefault(section, {})[name] = [1, 2]
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match=rf"{setting}=.*, b with .*=\[1, 2\]"):
    compare([a, b], outputs=tmp_path / "out")


def test_different_reference_rows_name_their_run(tmp_path):
  a = _write_run(tmp_path, "a", 0, 10.0, 3.0)
  b = _write_run(tmp_path, "b", 0, 8.0, 2.5, depth=4)
  rows, metrics, content = records.read_json(b / "evaluation.json")
  rows["no model"].metrics["single_rmse"] = (30.0, None)
  facts = {k: v for k, v in content.items() if k not in ("rows", "metrics")}
  for name in ("hardware", "versions"):
    facts.pop(name)
  records.write_json(b / "evaluation.json", rows, metrics, **facts)
  lines = compare([a, b], outputs=tmp_path / "out")
  assert [line[0] for line in lines[-2:]] == ["a", "b"]


def test_folders_of_one_name_have_paths(tmp_path):
  a = _write_run(tmp_path / "x", "run", 0, 10.0, 3.0)
  b = _write_run(tmp_path / "y", "run", 0, 8.0, 2.5, depth=4)
  lines = compare([a, b], outputs=tmp_path / "out")
  assert {line[0] for line in lines[1:]} == {str(a), str(b), "-"}


def test_runs_that_cannot_be_compared_raise(tmp_path):
  a = _write_run(tmp_path, "a", 0, 10.0, 3.0)
  with pytest.raises(ValueError, match="nothing to compare"):
    compare([])
  with pytest.raises(
    FileNotFoundError, match="run --mode=evaluate on it first"
  ):
    compare([a, tmp_path / "none"])
  same = _write_run(tmp_path, "b", 0, 10.0, 3.0)
  with pytest.raises(
    ValueError, match="a and b are runs of one config and seed"
  ):
    compare([a, same])
  other = _write_run(
    tmp_path, "c", 1, 1.0, 1.0, listing_hash="d", source="digits"
  )
  with pytest.raises(
    ValueError, match="a was evaluated on photos, c on digits"
  ):
    compare([a, other])


def test_command(tmp_path):
  workdir = _write_run(tmp_path, "a", 0, 10.0, 3.0)
  command = [sys.executable, "-m", "cinn_jax.main", "--mode=compare"]
  for arguments, code, text in (
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
    assert text in result.stdout + result.stderr


def test_a_model_without_a_likelihood_has_a_dash(tmp_path, capsys):
  workdirs = [
    _write_run(tmp_path, "flow", 0, 10.0, 3.0),
    _write_run(
      tmp_path,
      "gan",
      0,
      8.0,
      0.0,
      depth=4,
      likelihood={"of": "RGB", "error": 1},
    ),
  ]
  lines = compare(workdirs, outputs=tmp_path / "out")
  bits = {line[0]: line[4] for line in lines[1:] if line[1] == "one sample"}
  assert bits == {"flow": "3.000", "gan": "-"}
  assert "- bits/dim -: the model has no likelihood." in capsys.readouterr().out
