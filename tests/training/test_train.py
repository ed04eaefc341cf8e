"""Training a tiny network: it learns, resumes and reports mistakes."""

import json

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax.training import monitor, stopping
from cinn_jax.training.train import train
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.trained import restore
from tests.support import tiny
from tests.support.interruption import change_metrics, interrupt_after


def _config(**train):
  few = {"num_steps": 5, "log_every": 2, "eval_every": 2, "sheet_every": 4}
  return tiny.digits(**{**few, **train})


def _rows(workdir, split):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [row for row in map(json.loads, lines) if row["split"] == split]


def _arrays(workdir, step):
  """Returns all arrays of a checkpoint, in the order of their paths."""
  folder = workdir / "checkpoints" / str(step)
  _, variables = cinn_jax.load(workdir)
  assert folder.is_dir()
  return [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "uninterrupted"
  train(_config(), workdir)
  return workdir


def test_writes_metrics_checkpoints_and_sheets(uninterrupted):
  validated = _rows(uninterrupted, "validation")
  # The last step is validated although 5 is no multiple of eval_every.
  assert [row["step"] for row in validated] == [2, 4, 5]
  for row in validated + _rows(uninterrupted, "train"):
    parts = row["bits_prior"] + row["bits_log_det"]
    np.testing.assert_allclose(row["bits_per_dim"], parts, rtol=1e-5)
  assert validated[0]["examples"] == 180
  assert 0 < validated[-1]["round_trip_error"] < 1e-4
  sheets = sorted(p.name for p in (uninterrupted / "sheets").iterdir())
  assert sheets == ["step_000004.png", "step_000005.png"]
  assert any((uninterrupted / "tensorboard").iterdir())
  checkpoints = Checkpoints(uninterrupted)
  assert checkpoints.latest_step() == 5
  checkpoints.close()


def test_resumed_run_is_bit_identical(uninterrupted, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    interrupt_after(patch, 3)
    with pytest.raises(KeyboardInterrupt):
      train(_config(), tmp_path / "run")
  train(_config(), tmp_path / "run")
  assert _rows(tmp_path / "run", "validation") == _rows(
    uninterrupted, "validation"
  )
  for resumed, expected in zip(
    _arrays(tmp_path / "run", 5), _arrays(uninterrupted, 5), strict=True
  ):
    np.testing.assert_array_equal(resumed, expected)


def test_finished_run_is_left_alone(uninterrupted, capsys):
  before = (uninterrupted / "metrics.jsonl").read_bytes()
  train(_config(), uninterrupted)
  assert "is finished: 5 steps" in capsys.readouterr().out
  assert (uninterrupted / "metrics.jsonl").read_bytes() == before


def test_another_config_in_the_workdir_raises(uninterrupted):
  config = _config(num_steps=9)
  config.model.depth = 6
  with pytest.raises(ValueError, match=r"depth is 6, was 3"):
    train(config, uninterrupted)


def test_divergence_keeps_the_checkpoint(tmp_path, monkeypatch):
  change_metrics(monkeypatch, {3: {"grad_norm": np.nan, "skipped": 5}})
  with pytest.raises(
    monitor.Diverged, match=r"Step 3: grad_norm .* 5th time .*learning"
  ):
    train(
      tiny.digits(num_steps=5, eval_every=2, sheet_every=9), tmp_path / "run"
    )
  assert restore(tmp_path / "run").step == 2


@pytest.mark.parametrize(
  "name", ["num_steps", "log_every", "eval_every", "sheet_every"]
)
def test_intervals_below_one_raise(name, tmp_path):
  with pytest.raises(ValueError, match=rf"{name} is 0, expected 1 "):
    train(_config(**{name: 0}), tmp_path)


@pytest.mark.parametrize(
  "section, name", [("train", "watchdog_minutes"), ("optimizer", "clip_norm")]
)
def test_negative_limits_raise(section, name, tmp_path):
  config = _config()
  config[section][name] = -1.0
  with pytest.raises(ValueError, match=rf"{name} is -1.0, expected 0 \(off\)"):
    train(config, tmp_path)


def test_a_folder_that_checkpoints_cannot_have_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"has a '\[' in its path"):
    train(_config(), tmp_path / "runs [2024]" / "a")
  assert not (tmp_path / "runs [2024]").exists()


def test_a_run_that_is_cut_short_is_validated(tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(stopping.Stop, "requested", lambda _, step: step == 3)
    with pytest.raises(stopping.Stopped):
      train(_config(), tmp_path / "run")
  train(_config(num_steps=2), tmp_path / "run")
  assert _rows(tmp_path / "run", "validation")[-1]["step"] == 3


def test_loss_goes_down(tmp_path):
  train(_config(num_steps=40, eval_every=40, sheet_every=40), tmp_path / "run")
  bits = [row["bits_per_dim"] for row in _rows(tmp_path / "run", "train")]
  assert bits[-1] < bits[0] - 0.2


@pytest.mark.slow
def test_profile_traces_a_few_steps(tmp_path, capsys):
  config = tiny.digits(num_steps=10, eval_every=10, sheet_every=10, log_every=5)
  train(config, tmp_path, profile=True)
  assert "Trace of 4 steps in" in capsys.readouterr().out
  traces = list((tmp_path / "profile").rglob("perfetto_trace.json.gz"))
  assert len(traces) == 1 and traces[0].stat().st_size > 1000
  # Three matrix products per layer and step, for 64 pictures.
  rows = _rows(tmp_path, "train")
  assert all(row["flops_per_second"] > 0 for row in rows)
  seconds = 64 / rows[-1]["images_per_second"]
  step = rows[-1]["flops_per_second"] * seconds
  weights = 3 * 2 * (42 * 32 + 32 * 64)
  np.testing.assert_allclose(step, 3 * 2 * weights * 64, rtol=0.1)
