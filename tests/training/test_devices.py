"""Several devices give the numbers of one."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
_PROGRAM = """
import sys
import jax
from cinn_jax import models
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.training.train import train
from tests import tiny

assert jax.device_count() == int(sys.argv[2])
# Whose first values are statistics of the first batch, of all devices.
name = "haar_colorization"
models.BUILDERS[name] = tiny.with_actnorm(name)
train(tiny.config(num_steps=3, log_every=1), sys.argv[1])
evaluate(sys.argv[1], num_samples=2)
"""


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
  """The same run on one device and on eight."""
  folder = tmp_path_factory.mktemp("devices")
  for devices in (1, 8):
    result = subprocess.run(
      [sys.executable, "-c", _PROGRAM, str(folder / f"{devices}")]
      + [str(devices)],
      cwd=ROOT,
      env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)},
      capture_output=True,
      text=True,
    )
    assert result.returncode == 0, result.stderr
  return folder


def _metrics(workdir):
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  # How quick it was, and differences that are all rounding, are no results.
  left_out = ("images_per_second", "data_wait", "round_trip_error", "split")
  return [{k: v for k, v in row.items() if k not in left_out} for row in lines]


def test_eight_devices_train_as_one_does(workdirs):
  one, eight = (_metrics(workdirs / name) for name in ("1", "8"))
  assert len(one) == len(eight) == 5  # 3 steps, 2 validations
  for a, b in zip(one, eight, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_allclose(b[name], a[name], rtol=1e-5, err_msg=name)


def test_eight_devices_evaluate_as_one_does(workdirs):
  one, eight = (
    json.loads((workdirs / name / "evaluation.json").read_text())
    for name in ("1", "8")
  )
  assert eight["hardware"]["device_count"] == 8
  for row, expected in one["rows"].items():
    for name, metric in expected["metrics"].items():
      got = eight["rows"][row]["metrics"][name]["value"]
      # A pixel may be rounded the other way.
      np.testing.assert_allclose(got, metric["value"], rtol=1e-3, atol=1e-3)
