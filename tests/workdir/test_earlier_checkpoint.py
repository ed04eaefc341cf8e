"""A checkpoint of an earlier version is restored with the same numbers."""

import pathlib
import zipfile

import jax
import numpy as np
import pytest

from cinn_jax.workdir.trained import restore

# Two steps of tests/support/tiny.py, by the version before packages moved; the
# log-densities are what that version computed for `_inputs` from it.
ARCHIVE = pathlib.Path(__file__).parent / "earlier_checkpoint.zip"
LOG_PROB = (-230.87265014648438, -232.15325927734375)


def _inputs(task):
  random = np.random.default_rng(0)
  return (
    random.normal(size=(2, *shape)).astype(np.float32)
    for shape in (task.event_shape, task.cond_shape)
  )


def test_an_earlier_checkpoint_gives_the_same_densities(tmp_path):
  with zipfile.ZipFile(ARCHIVE) as archive:
    archive.extractall(tmp_path)
  trained = restore(tmp_path)
  x, cond = _inputs(trained.task)
  log_prob = jax.jit(trained.flow.log_prob)(trained.variables, x, cond)
  assert trained.step == 2
  assert log_prob.total == pytest.approx(LOG_PROB, rel=1e-5)
