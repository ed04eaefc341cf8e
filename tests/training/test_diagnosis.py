"""A step that is not finite is named, left out, and can be shown again."""

import jax
import numpy as np
import pytest

from cinn_jax.experiment.build import build
from cinn_jax.training import diagnosis
from cinn_jax.training.monitor import Diverged
from cinn_jax.training.train import train
from cinn_jax.workdir.checkpoint import Checkpoints
from tests.support import tiny


def _config(**train):
  config = tiny.digits(
    num_steps=6, batch_size=16, eval_every=2, sheet_every=9, **train
  )
  config.optimizer.update({"schedule": "constant", "clip_norm": 0.0})
  return config


def test_a_diverging_run_leaves_its_last_finite_state(tmp_path):
  # The fifth update is far too large, and the sixth step finds it.
  config = _config()
  config.optimizer.update(
    {
      "schedule": "multistep",
      "schedule_options": {"boundaries": (4,), "factor": 1e30},
    }
  )
  with pytest.raises(Diverged) as caught:
    train(config, tmp_path)
  said = str(caught.value)
  assert "Step 6: " in said and "is not finite" in said
  assert "First not finite: bijection/" in said and "(Dense, call 1)" in said
  [path] = (tmp_path / "diverged").iterdir()
  assert path.name == "step_000006.npz" and str(path) in said
  assert diagnosis.reproduce(path) in said
  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.latest_step() == 4
  checkpoints.close()


@pytest.mark.parametrize(
  "content, said",
  [
    (None, "No such file"),
    (b"# A page", "is not what a run that diverged leaves"),
    (b"", "is not what a run that diverged leaves"),
  ],
)
def test_other_files_are_one_line(content, said, tmp_path):
  path = tmp_path / "step.npz"
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(SystemExit, match=f"^Error: .*{said}"):
    diagnosis.main([str(path)])
  np.savez(path, step=3)
  with pytest.raises(SystemExit, match="is not what a run that diverged"):
    diagnosis.main([str(path)])
  with pytest.raises(SystemExit, match="expected one file"):
    diagnosis.main([])


@pytest.fixture(scope="module")
def made():
  """(flow, task, variables, batch) of a small class-conditional flow."""
  flow, task = build(_config())
  random = np.random.default_rng(0)
  batch = {
    "image": random.integers(0, 256, (4, 8, 8, 3), np.uint8),
    "label": np.arange(4, dtype=np.int32),
  }
  x, cond = task.prepare(batch)
  return flow, task, flow.init(jax.random.key(0), x, cond), batch


def _diagnose(made, variables, batch=None):
  flow, task, _, own = made
  return diagnosis.diagnose(flow, task, variables, batch or own, seed=0, step=1)


def _changed(variables, layer, block, value):
  """One bias of one block's network set to `value`."""

  def change(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if name.endswith(f"net_1/{layer}/bias"):
      return leaf.at[block, 0].set(value)
    return leaf

  return jax.tree_util.tree_map_with_path(change, variables)


def test_a_finite_step_has_nothing_to_name(made):
  assert _diagnose(made, made[2]) == "nothing, when run again"


def test_parameters_that_are_not_finite_are_named(made):
  said = _diagnose(made, _changed(made[2], "layer_0", 1, np.nan))
  assert said.startswith("params/") and said.endswith("bias before the step")


def test_the_first_part_that_overflows_is_named(made):
  # Finite, but not what the next layer makes of it: in the second block.
  variables = _changed(made[2], "layer_0", 1, 3e38)

  def large(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return leaf * 0 + 10.0 if name.endswith("net_1/layer_1/kernel") else leaf

  variables = jax.tree_util.tree_map_with_path(large, variables)
  said = _diagnose(made, variables)
  assert "net_1" in said and "call 2)" in said


def test_a_condition_that_is_not_finite_is_named(made):
  flow, task, variables, batch = made
  broken = task._replace(
    prepare=lambda batch: (task.prepare(batch)[0], np.full((4, 10), np.inf))
  )
  said = diagnosis.diagnose(flow, broken, variables, batch, seed=0, step=1)
  assert said == "the condition of the step"
