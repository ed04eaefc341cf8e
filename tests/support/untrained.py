"""Workdirs of untrained models, for tests that need no quality."""

import jax
import optax

from cinn_jax.experiment.build import build
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.state import init_state


def make_workdir(config, workdir):
  """Creates a workdir with a checkpoint of step 0 of a config's run."""
  flow, task = build(config)
  optimizer = optax.adam(1e-3)
  start = jax.jit(lambda: init_state(jax.random.key(0), flow, task, optimizer))
  checkpoints = Checkpoints(workdir)
  checkpoints.save(start(), config.to_dict(), {"bits_per_dim": 0.0})
  checkpoints.close()
