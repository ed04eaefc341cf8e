"""Workdirs of untrained models, for tests that need no quality."""

import jax
import numpy as np
import optax

from cinn_jax.experiment.build import build
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.state import init_state
from tests.support import drawing


def make_workdir(config, workdir, noise=0.0):
  """Creates a workdir with a checkpoint of step 0 of a config's run.

  Noise of this standard deviation on all parameters moves layers away from the
  identity.
  """
  flow, task = build(config)
  optimizer = optax.adam(1e-3)
  start = jax.jit(lambda: init_state(jax.random.key(0), flow, task, optimizer))
  checkpoints = Checkpoints(workdir)
  state = start()
  if noise:
    params = state.fit.params
    moves = drawing.draw_like(params, 0, np.float32, noise)
    params = jax.tree.map(jax.numpy.add, params, moves)
    fit = state.fit._replace(params=params)
    state = state._replace(fit=fit, ema=state.ema and params)
  checkpoints.save(state, config.to_dict(), {"bits_per_dim": 0.0})
  checkpoints.close()
