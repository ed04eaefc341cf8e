"""Results do not depend on the number of devices and processes."""

import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from cinn_jax import models
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.sampling.draw import Sampling
from cinn_jax.training.train import train
from tests.support import tiny, untrained

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 20
_PROGRAM = """
import json, sys
from cinn_jax.runtime import processes
options = json.loads(sys.argv[1])
# In a file of its own: the transport's threads write to the standard output.
sys.stdout = open(options["log"], "w")
if "coordinator" in options:
  processes.initialize(*options["coordinator"])
import jax

assert jax.device_count() == options["devices"]
from tests.runs import test_devices

test_devices.train_to(
  options["workdir"], options["steps"], options["fully_sharded"]
)
if options["evaluated"]:
  test_devices.evaluate_here(options["evaluated"])
"""


def train_to(workdir, steps, fully_sharded=False):
  """Trains up to a step on the devices of this process and its peers."""
  config = tiny.digits(
    num_steps=steps, log_every=1, eval_every=10, sheet_every=20
  )
  # A schedule that does not depend on the number of steps, which varies.
  config.optimizer.update({"learning_rate": 1e-3, "schedule": "constant"})
  config.optimizer.schedule_options = {}
  # While couplings are the identity, the gradient of ActNorm's bias is rounding
  # alone, and Adam divides each gradient by its own size.
  config.optimizer.eps = 1e-4
  config.train.fully_sharded = fully_sharded
  with pytest.MonkeyPatch.context() as patch:
    # ActNorm initialises from the first batch of all devices.
    builder = tiny.with_actnorm("dense_cinn")
    patch.setitem(models.BUILDERS, "dense_cinn", builder)
    train(config, workdir)


def evaluate_here(workdir):
  evaluate(workdir, sampling=Sampling(num_samples=2))


def _run(
  workdir,
  steps,
  *,
  processes=1,
  devices=1,
  fully_sharded=False,
  evaluated=None,
):
  """Trains with `devices` in each process, and evaluates another workdir."""
  options = {
    "workdir": str(workdir),
    "steps": steps,
    "devices": devices * processes,
    "fully_sharded": fully_sharded,
    "evaluated": evaluated and str(evaluated),
  }
  environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  runs, logs = [], []
  for k in range(processes):
    logs.append(pathlib.Path(f"{workdir}.{steps}.{k}.log"))
    options["log"] = str(logs[-1])
    if processes > 1:
      options["coordinator"] = [address, processes, k]
    runs.append(
      subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(options)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  for run in runs:
    _, error = run.communicate(timeout=600)
    assert run.returncode == 0, error
  # Only the first process prints.
  first, *others = (path.read_text() for path in logs)
  assert first and not any(others)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """Returns a workdir of digits, trained on one device."""
  folder = tmp_path_factory.mktemp("devices")
  train_to(folder, STEPS)
  return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
  """Returns a workdir of photographs, evaluated on one device."""
  folder = tmp_path_factory.mktemp("evaluated")
  untrained.make_workdir(tiny.get_config(), folder)
  evaluate_here(folder)
  return folder


def _metrics(workdir):
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  # Speeds, and errors that are pure rounding, are not results.
  ignored = {"images_per_second", "flops_per_second", "data_wait"}
  ignored |= {"round_trip_error", "split"}
  return [{k: v for k, v in row.items() if k not in ignored} for row in lines]


def _assert_same_curve(workdir, expected):
  one, other = _metrics(expected), _metrics(workdir)
  assert len(one) == len(other) == STEPS + 2  # and two validations
  for a, b in itertools.zip_longest(one, other):
    assert a.keys() == b.keys()
    for name in a:
      # Parts of the loss nearly cancel each other.
      atol = 0 if name == "bits_per_dim" else 5e-5
      np.testing.assert_allclose(
        b[name], a[name], rtol=1e-5, atol=atol, err_msg=name
      )


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


def test_training_does_not_depend_on_devices(trained, tmp_path):
  _run(tmp_path / "run", STEPS, devices=8)
  _assert_same_curve(tmp_path / "run", trained)


# Two processes are part of the run that moves as well.
@pytest.mark.slow
@pytest.mark.parametrize("devices, processes", [(8, 1), (1, 2)])
def test_results_do_not_depend_on_devices(
  devices, processes, trained, evaluated, tmp_path
):
  run, copy = tmp_path / "run", tmp_path / "evaluated"
  shutil.copytree(evaluated, copy)
  _run(run, STEPS, devices=devices, processes=processes, evaluated=copy)
  _assert_same_curve(run, trained)
  _assert_same_evaluation(copy, evaluated, devices * processes)


@pytest.mark.slow
def test_runs_move_between_machines(trained, evaluated, tmp_path):
  copy = tmp_path / "evaluated"
  shutil.copytree(evaluated, copy)
  _run(tmp_path, 8, devices=8, fully_sharded=True)
  _run(
    tmp_path,
    14,
    processes=2,
    devices=2,
    fully_sharded=True,
    evaluated=copy,
  )
  train_to(tmp_path, STEPS)
  path = tmp_path / "metrics.jsonl"
  # Each part validates at its end too, but the single run only at 10 and 20.
  kept = [
    line
    for line in path.read_text().splitlines()
    if '"train"' in line or json.loads(line)["step"] in (10, STEPS)
  ]
  path.write_text("\n".join(kept))
  _assert_same_curve(tmp_path, trained)
  _assert_same_evaluation(copy, evaluated, 4)
