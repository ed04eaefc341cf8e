"""The numbers do not depend on how many devices and processes there are."""

import itertools
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 20
_PROGRAM = """
import json, sys
from cinn_jax import processes
options = json.loads(sys.argv[1])
if "coordinator" in options:
  processes.initialize(*options["coordinator"])
import jax
from cinn_jax import models
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.training.train import train
from tests import tiny

assert jax.device_count() == options["devices"]
# Whose first values are statistics of the first batch, of all devices.
name = "haar_colorization"
models.BUILDERS[name] = tiny.with_actnorm(name)
config = tiny.config(
  num_steps=options["steps"], log_every=1, eval_every=10, sheet_every=20
)
# Independent of the number of steps, which changes on the way.
config.optimizer.update({"learning_rate": 1e-3, "schedule": "constant"})
config.optimizer.schedule_options = {}
config.train.fully_sharded = options["fully_sharded"]
train(config, options["workdir"])
if options["evaluate"]:
  evaluate(options["workdir"], num_samples=2)
"""


def _run(
  workdir,
  steps,
  *,
  processes=1,
  devices=1,
  fully_sharded=False,
  evaluate=False,
):
  """Trains up to `steps` on `devices` per process."""
  options = {
    "workdir": str(workdir),
    "steps": steps,
    "devices": devices * processes,
    "fully_sharded": fully_sharded,
    "evaluate": evaluate,
  }
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  runs = []
  for k in range(processes):
    if processes > 1:
      options["coordinator"] = [address, processes, k]
    runs.append(
      subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(options)],
        cwd=ROOT,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  printed = []
  for run in runs:
    out, error = run.communicate(timeout=600)
    assert run.returncode == 0, error
    printed.append(out)
  # Of several processes only the first tells; the transport has its own say.
  told = [re.sub(r"\[Gloo\].*\n", "", out) for out in printed]
  assert told[0] and not any(told[1:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("devices")
  _run(folder / "one", STEPS, evaluate=True)
  return folder


def _metrics(workdir):
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  # How quick it was, and differences that are all rounding, are no results.
  left_out = ("images_per_second", "data_wait", "round_trip_error", "split")
  return [{k: v for k, v in row.items() if k not in left_out} for row in lines]


def _assert_same_curve(workdir, expected):
  one, other = _metrics(expected), _metrics(workdir)
  assert len(one) == len(other) == STEPS + 2  # and two validations
  for a, b in itertools.zip_longest(one, other):
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_allclose(b[name], a[name], rtol=1e-5, err_msg=name)


def _assert_same_evaluation(workdir, expected, devices):
  one, other = (
    json.loads((path / "evaluation.json").read_text())
    for path in (expected, workdir)
  )
  assert other["hardware"]["device_count"] == devices
  np.testing.assert_allclose(
    other["likelihood"]["bits_per_dim"],
    one["likelihood"]["bits_per_dim"],
    rtol=1e-5,
  )
  for row, values in one["rows"].items():
    for name, metric in values["metrics"].items():
      got = other["rows"][row]["metrics"][name]["value"]
      # A pixel may be rounded the other way.
      np.testing.assert_allclose(got, metric["value"], rtol=1e-3, atol=1e-3)


def test_eight_devices(folder):
  _run(folder / "eight", STEPS, devices=8, evaluate=True)
  _assert_same_curve(folder / "eight", folder / "one")
  _assert_same_evaluation(folder / "eight", folder / "one", 8)


def test_two_processes(folder):
  _run(folder / "two", STEPS, processes=2, evaluate=True)
  _assert_same_curve(folder / "two", folder / "one")
  _assert_same_evaluation(folder / "two", folder / "one", 2)


def test_a_run_moves_between_machines_fully_sharded_or_not(folder):
  workdir = folder / "elastic"
  _run(workdir, 8, devices=8, fully_sharded=True)
  _run(workdir, 14, processes=2, devices=2, fully_sharded=True)
  _run(workdir, STEPS)
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  # Each part validates where it ends; the one run at 10 and 20 alone.
  kept = [
    line
    for line in lines
    if '"train"' in line or json.loads(line)["step"] in (10, STEPS)
  ]
  (workdir / "metrics.jsonl").write_text("\n".join(kept))
  _assert_same_curve(workdir, folder / "one")
