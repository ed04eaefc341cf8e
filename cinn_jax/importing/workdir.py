"""Writes imported variables to a workdir, as training would have left it."""

import os

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cinn_jax.flow import split_variables
from cinn_jax.importing.official import load_official
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.workdir.checkpoint import Checkpoints, check_path
from cinn_jax.workdir.state import Fit, State


def import_official(
  checkpoint: str | os.PathLike[str],
  config: ConfigDict,
  workdir: str | os.PathLike[str],
) -> None:
  """Writes an official checkpoint as step 1 of a run in `workdir`.

  The parameters are those of the file, without an average. The optimizer starts
  from scratch, and no validation is recorded. The workdir can be used with
  `--mode=sample`, `evaluate` and `train`.

  Args:
    checkpoint: Official file; see `load_official`.
    config: Config of the network in the file.
    workdir: Folder without a run.

  Raises:
    ValueError: if the workdir contains a run, or for the reasons that
      `load_official` names.
  """
  check_path(workdir)
  variables = jax.tree.map(jnp.asarray, load_official(checkpoint, config))
  params, constants = split_variables(variables)
  optimizer = make_optimizer(
    num_steps=config.train.num_steps, **config.optimizer.to_dict()
  )
  state = State(
    step=jnp.ones((), jnp.int32),
    fit=Fit(params, constants, optimizer.init(params)),
    ema=None,
    skipped=jnp.zeros((), jnp.int32),
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
