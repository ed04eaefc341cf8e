"""Workdirs of untrained models, for tests that need no quality."""

import jax
import numpy as np
import optax

from cinn_jax.experiment.build import abstract_cond, build
from cinn_jax.workdir import tensor_file
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
  key = jax.random.key(0, impl="rbg")  # compiles fast
  start = jax.jit(lambda: init_state(key, flow, task, optimizer))
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


def write_file(config, path, scale=0.3):
  """Writes a file as `--mode=export` does, of a run with random parameters.

  It compiles nothing, so it is quicker than `make_workdir`.
  """
  flow, task = build(config)
  x = jax.ShapeDtypeStruct((1, *task.event_shape), np.float32)
  variables = drawing.draw_variables(
    flow.module, 0, x, abstract_cond(task), scale
  )
  sections = {name: config[name].to_dict() for name in ("task", "model")}
  run = {"step": 0, **sections, "data": {"source": "photos"}}
  tensor_file.write(path, variables, {"run": run})
