"""A workdir from imported variables, as training would have left it."""

import jax
import jax.numpy as jnp

from cinn_jax.flow import split_variables
from cinn_jax.importing.official import load_official
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.state import State


def import_official(checkpoint, config, workdir):
  """Writes an official checkpoint as step 1 of a run in `workdir`.

  The parameters are the file's, without an average; the optimizer starts anew,
  and no validation is recorded. `--mode=sample`, `evaluate` and `train` take
  it.

  Args:
    checkpoint: the file; see `load_official`.
    config: a ConfigDict, of the network that the file has.
    workdir: a folder that holds no run yet.

  Raises:
    ValueError: where the workdir holds a run; as `load_official`.
  """
  variables = jax.tree.map(jnp.asarray, load_official(checkpoint, config))
  params, constants = split_variables(variables)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **config.optimizer.to_dict()
  )
  state = State(
    step=jnp.ones((), jnp.int32),
    params=params,
    ema=None,
    constants=constants,
    optimizer=optimizer.init(params),
    diverged=jnp.zeros((), bool),
  )
  checkpoints = Checkpoints(workdir)
  try:
    if checkpoints.latest_step() is not None:
      raise ValueError(
        f"{workdir} holds a run already: pass another --workdir, or delete it."
      )
    checkpoints.save(state, config.to_dict(), None)
  finally:
    checkpoints.close()
