"""A step that is not finite is left out, diagnosed and can be repeated."""

import pathlib
import subprocess
import sys
from unittest import mock

import jax
import numpy as np
import pytest

from cinn_jax.experiment.build import build
from cinn_jax.training import diagnosis
from cinn_jax.training.monitor import Diverged
from cinn_jax.training.train import train
from cinn_jax.workdir.checkpoint import Checkpoints
from tests.support import tiny

ROOT = pathlib.Path(__file__).parents[2]


def _config(**train):
  config = tiny.digits(
    num_steps=12, batch_size=16, eval_every=2, sheet_every=9, **train
  )
  config.optimizer.update({"schedule": "constant", "clip_norm": 0.0})
  return config


@pytest.mark.parametrize("fails", [False, True])
def test_diverging_run_keeps_its_last_finite_state(
  fails, tmp_path, monkeypatch
):
  # The fifth update is far too large; no later step is finite.
  config = _config()
  config.optimizer.update(
    {
      "schedule": "multistep",
      "schedule_options": {"boundaries": (4,), "factor": 1e30},
    }
  )
  if fails:
    out_of_memory = mock.Mock(side_effect=RuntimeError("RESOURCE_EXHAUSTED\n"))
    monkeypatch.setattr(diagnosis, "diagnose", out_of_memory)
  with pytest.raises(Diverged) as caught:
    train(config, tmp_path)
  message = str(caught.value)
  if fails:
    assert "the diagnosis failed (RESOURCE_EXHAUSTED); to see it" in message
    assert list((tmp_path / "diverged").iterdir())
    return
  assert "Step 10: " in message and "is not finite" in message
  assert "First not finite: bijection/" in message
  assert "(Dense, call 1)" in message
  [path] = (tmp_path / "diverged").iterdir()
  assert path.name == "step_000010.npz" and str(path) in message
  assert diagnosis.reproduce(path) in message
  assert diagnosis.reproduce(path) in _command(str(path)).stdout
  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.latest_step() == 4
  checkpoints.close()


def _command(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "cinn_jax.training.diagnosis", *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )


@pytest.mark.parametrize("content", [b"# A page", b"", {"step": 3}])
def test_file_of_another_kind_raises(content, tmp_path):
  path = tmp_path / "step.npz"
  if isinstance(content, bytes):
    path.write_bytes(content)
  else:
    np.savez(path, **content)
  with pytest.raises(ValueError, match="is not from a run that diverged"):
    diagnosis.reproduce(path)


def test_command_prints_one_line_for_an_error(tmp_path):
  for arguments, message in [
    ([str(tmp_path / "none.npz")], "No such file"),
    ([], "expected one argument, such as workdirs/RUN/diverged"),
  ]:
    result = _command(*arguments)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ") and message in line


@pytest.fixture(scope="module")
def model():
  """A small class-conditional flow: (flow, task, variables, batch)."""
  flow, task = build(_config())
  random = np.random.default_rng(0)
  batch = {
    "image": random.integers(0, 256, (4, 8, 8, 3), np.uint8),
    "label": np.arange(4, dtype=np.int32),
  }
  x, cond = task.prepare(batch)
  return flow, task, flow.init(jax.random.key(0), x, cond), batch


def _diagnose(model, variables):
  flow, task, _, batch = model
  return diagnosis.diagnose(flow, task, variables, batch, seed=0, step=1)


def _set_bias(variables, layer, block, value):
  """Sets one bias of one block's network to `value`."""

  def change(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if name.endswith(f"net_1/{layer}/bias"):
      return leaf.at[block, 0].set(value)
    return leaf

  return jax.tree_util.tree_map_with_path(change, variables)


def test_finite_step_has_no_diagnosis(model):
  assert _diagnose(model, model[2]) == "nothing when run again"


def test_names_parameters_that_are_not_finite(model):
  part = _diagnose(model, _set_bias(model[2], "layer_0", 1, np.nan))
  assert part.startswith("params/") and part.endswith("bias before the step")


def test_names_the_first_part_that_overflows(model):
  # This bias of the second block is finite, but the next layer overflows.
  variables = _set_bias(model[2], "layer_0", 1, 3e38)

  def enlarge(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return leaf * 0 + 10.0 if name.endswith("net_1/layer_1/kernel") else leaf

  variables = jax.tree_util.tree_map_with_path(enlarge, variables)
  part = _diagnose(model, variables)
  assert "net_1" in part and "call 2)" in part


def test_names_a_condition_that_is_not_finite(model):
  flow, task, variables, batch = model
  broken = task._replace(
    prepare=lambda batch: (task.prepare(batch)[0], np.full((4, 10), np.inf))
  )
  part = diagnosis.diagnose(flow, broken, variables, batch, seed=0, step=1)
  assert part == "the condition of the step"
