"""Workdirs to load in a moment, for what need not be good."""

import jax
import optax

from cinn_jax.experiment.build import build
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.state import init_state


def make_workdir(config, workdir):
  """A workdir with a checkpoint of step 0 of what `config` describes."""
  flow, task = build(config)
  optimizer = optax.adam(1e-3)
  start = jax.jit(lambda: init_state(jax.random.key(0), flow, task, optimizer))
  checkpoints = Checkpoints(workdir)
  checkpoints.save(start(), config.to_dict(), {"bits_per_dim": 0.0})
  checkpoints.close()
