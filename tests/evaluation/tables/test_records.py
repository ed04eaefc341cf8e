"""Evaluations as files: all digits, and whole files or none."""

import json
import os
import platform

import jax
import numpy as np
import pytest

from cinn_jax.evaluation.tables import records, table
from tests.support.tables import METRICS, ROWS


def test_json_keeps_every_digit(tmp_path):
  path = tmp_path / "new" / "report.json"
  rows = {"x": table.Row({"variance": (np.float64(1 / 3), 1e-17)}, images=3)}
  records.write_json(path, rows, METRICS, split="test")
  content = json.loads(path.read_text(encoding="utf-8"))
  assert content["rows"]["x"] == {
    "mark": "ours",
    "images": 3,
    "samples": None,
    "metrics": {"variance": {"value": 1 / 3, "error": 1e-17}},
  }
  assert content["metrics"] == {"variance": METRICS["variance"]._asdict()}
  assert content["split"] == "test"
  assert content["hardware"]["platform"] == jax.default_backend()
  assert content["hardware"]["device_count"] == jax.device_count()
  assert content["versions"]["jax"] == jax.__version__
  assert content["versions"]["python"] == platform.python_version()


def test_facts_that_are_not_finite_have_names(tmp_path):
  path = tmp_path / "report.json"
  scores = {"round_trip_error": np.inf, "more": {"a": np.float64("nan")}}
  records.write_json(path, ROWS, METRICS, likelihood=scores, of=[-np.inf, 1.5])
  content = records.read_json(path)[2]
  assert content["likelihood"] == {
    "round_trip_error": "inf",
    "more": {"a": "nan"},
  }
  assert content["of"] == ["-inf", 1.5]


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "report.json"
  records.write_json(path, ROWS, METRICS)
  old = path.read_bytes()

  def full(*_):
    raise OSError("disk full")

  monkeypatch.setattr(os, "replace", full)
  with pytest.raises(OSError, match="disk full"):
    records.write_json(path, {}, METRICS)
  assert path.read_bytes() == old
  assert list(tmp_path.iterdir()) == [path]


def test_file_appears_whole(tmp_path, monkeypatch):
  path, contents = tmp_path / "report.json", []
  replace = os.replace

  def watch(source, target):
    assert target == path and not path.exists()
    contents.append(json.loads(source.read_text(encoding="utf-8")))
    replace(source, target)

  monkeypatch.setattr(os, "replace", watch)
  records.write_json(path, ROWS, METRICS)
  assert contents == [json.loads(path.read_text(encoding="utf-8"))]


def test_round_trip(tmp_path):
  path = tmp_path / "a.json"
  row = table.Row({"variance": (1 / 3, None)}, "reference", 3, 2)
  rows = ROWS | {"x": row._replace(intervals={"variance": (0.25, 0.5)})}
  records.write_json(path, rows, METRICS, step=7)
  copy, metrics, content = records.read_json(path)
  assert copy == rows
  assert metrics == {k: METRICS[k] for k in ("single_rmse", "variance")}
  assert content["step"] == 7


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"rows": {"x": 1}}'])
def test_other_files_raise(tmp_path, text):
  path = tmp_path / "a.json"
  path.write_text(text)
  with pytest.raises(ValueError, match="not an evaluation of this program"):
    records.read_json(path)
