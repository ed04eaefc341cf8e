"""Checks that sbibm.py skips finished rows, resumes stopped ones and prints."""

import argparse
import json
import pathlib
import sys

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax import bijections as bj

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sbibm
import sbibm_references
import sbibm_table
from sbibm_tasks import TASKS, flow_for


@pytest.fixture
def flags(tmp_path):
  return argparse.Namespace(
    data=tmp_path / "none.zip",
    results=tmp_path / "sbibm.json",
    workdir=tmp_path / "work",
  )


@pytest.fixture
def calls(monkeypatch):
  """Replaces archive, fit and classifier; returns a list of the calls."""
  done = []

  def read(data, task, number):
    x = np.full(TASKS[task].data_dim, number)
    return sbibm_references.Reference(x, np.zeros(2), np.full((3, 2), number))

  def posteriors(task, budget, seed, observed, truth):
    done.append(("fit", budget, seed))
    return np.repeat(observed[:, None], 3, axis=1), {"fit_seconds": 12.3}

  def c2st(samples, exact):
    assert samples[0, 0] == exact[0, 0]
    done.append(int(exact[0, 0]))
    return 0.5 + 0.01 * exact[0, 0]

  monkeypatch.setattr(sbibm_references, "read", read)
  monkeypatch.setattr(sbibm, "posteriors", posteriors)
  monkeypatch.setattr(sbibm.calibration, "c2st", c2st)
  return done


def test_rows_have_all_observations_and_are_skipped(flags, calls):
  for _ in range(2):
    sbibm.make_row("two_moons", 1000, 3, flags)
  assert calls == [("fit", 1000, 3), *range(1, 11)]
  [row] = json.loads(flags.results.read_text())
  assert row["c2st"] == [round(0.5 + 0.01 * k, 4) for k in range(1, 11)]
  assert not list(flags.workdir.iterdir())
  text = sbibm_table.table([row])
  assert "| two_moons | 1,000 | 3 | 0.555 ± 0.029 | 0.725 | 12 |" in text


def test_stopped_rows_go_on_with_the_next_observation(
  flags, calls, monkeypatch
):
  whole = sbibm.calibration.c2st

  def stop(samples, exact):
    if exact[0, 0] == 4:
      raise KeyboardInterrupt
    return whole(samples, exact)

  monkeypatch.setattr(sbibm.calibration, "c2st", stop)
  with pytest.raises(KeyboardInterrupt):
    sbibm.make_row("two_moons", 1000, 0, flags)
  assert not flags.results.exists()
  monkeypatch.setattr(sbibm.calibration, "c2st", whole)
  sbibm.make_row("two_moons", 1000, 0, flags)
  assert calls == [("fit", 1000, 0), *range(1, 11)]
  assert len(json.loads(flags.results.read_text())[0]["c2st"]) == 10


def test_every_task_has_a_quoted_number():
  assert set(sbibm_table.NPE) == set(TASKS)


@pytest.mark.slow
def test_flows_map_the_bounds_or_not():
  task = TASKS["slcp"]
  theta, x = task.simulate(np.random.default_rng(0), 50)
  for is_mapped in (None, False):
    flow = flow_for(task, is_mapped=is_mapped, blocks=1, hidden=(4,))
    variables = flow.init(jax.random.key(0), theta, x)
    samples, _ = flow.sample(variables, jax.random.key(1), x, num_samples=100)
    assert (np.abs(samples).max() < 3) == (is_mapped is None)


def test_samples_outside_the_bounds_are_drawn_again(monkeypatch):
  monkeypatch.setattr(sbibm, "NUM_SAMPLES", 500)
  flow = cinn_jax.make_flow(bj.ActNorm(), (2,))
  zeros = jax.numpy.zeros(2)
  variables = {"params": {"bias": zeros, "log_scale": zeros}}
  arguments = flow, variables, jax.random.key(0), None
  samples = sbibm.draw_inside(TASKS["two_moons"], *arguments)
  assert samples.shape == (500, 2) and np.abs(samples).max() < 1
  assert len(np.unique(samples)) == 1000
  free = sbibm.draw_inside(TASKS["gaussian_linear"], *arguments)
  assert np.abs(free).max() > 1
  far = TASKS["two_moons"]._replace(low=50.0, high=51.0)
  with pytest.raises(ArithmeticError, match="Only 0 of 50000 samples"):
    sbibm.draw_inside(far, *arguments)
