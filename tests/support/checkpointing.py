"""States to save, and helpers to compare them with what is restored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.saved import newest_intact
from cinn_jax.workdir.state import Fit, State

CONFIG = {"model": {"hidden": (4, 8), "init_std": None}}


def state_at(step):
  """Returns a small state whose numbers depend on the step."""

  def leaf(k):
    return {"w": jnp.arange(3.0) + 10 * k + step}

  return State(
    step=jnp.asarray(step, jnp.int32),
    fit=Fit(
      params=leaf(1),
      constants={"constants": leaf(3), "batch_stats": leaf(4)},
      optimizer=({"mu": leaf(5)}, jnp.asarray(step, jnp.int32)),
    ),
    ema=leaf(2),
    skipped=jnp.asarray(0, jnp.int32),
  )


def save(folder, bits):
  """Saves a state for each {step: bits/dim}; returns the steps that stay."""
  checkpoints = Checkpoints(folder)
  for step, value in bits.items():
    checkpoints.save(state_at(step), CONFIG, {"bits_per_dim": value})
  checkpoints.wait()
  checkpoints.close()
  return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def abstract(tree):
  """Returns the shapes of a tree's arrays, on one device."""
  [device] = jax.local_devices()[:1]
  sharding = jax.sharding.SingleDeviceSharding(device)
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    tree,
  )


def assert_identical(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def files(folder, step):
  """Returns the files of a saved step that are not empty."""
  step = folder / "checkpoints" / str(step)
  return sorted(p for p in step.rglob("*") if p.is_file() and p.stat().st_size)


def read_newest(folder):
  """Returns (step, state) of the newest intact checkpoint."""
  checkpoints = Checkpoints(folder)
  try:
    return newest_intact(
      folder, lambda step: checkpoints.restore(step, abstract(state_at(0)))
    )
  finally:
    checkpoints.close()


# If Orbax cannot read a file, its other readers end with warnings.
ignore_reader_warnings = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning"
)
