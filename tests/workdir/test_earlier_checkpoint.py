"""A checkpoint of an earlier version gives the same numbers."""

import pathlib
import zipfile

import jax
import numpy as np
import pytest

from cinn_jax.workdir.same_run import check_same_run
from cinn_jax.workdir.trained import restore
from tests.support import tiny

# Two steps of tests/support/tiny.py, saved before the packages were rearranged,
# and the log-densities of `_inputs` that the same version computed from it.
ARCHIVE = pathlib.Path(__file__).parent / "earlier_checkpoint.zip"
LOG_PROB = (-230.87265014648438, -232.15325927734375)


def _inputs(task):
  random = np.random.default_rng(0)
  return (
    random.normal(size=(2, *shape)).astype(np.float32)
    for shape in (task.event_shape, task.cond_shape)
  )


@pytest.fixture
def workdir(tmp_path):
  with zipfile.ZipFile(ARCHIVE) as archive:
    archive.extractall(tmp_path)
  return tmp_path


def test_densities_are_the_same(workdir):
  trained = restore(workdir)
  x, cond = _inputs(trained.task)
  log_prob = jax.jit(trained.flow.log_prob)(trained.variables, x, cond)
  assert trained.step == 2
  assert log_prob.total == pytest.approx(LOG_PROB, rel=1e-5)


def test_training_may_resume(workdir):
  """Checks a config without the settings that have been added since."""
  check_same_run(workdir, tiny.photos().to_dict())
