"""Placement of arrays on a mesh of devices; one device is a mesh of one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# The one axis of a mesh.
AXIS = "data"


def make_mesh() -> Mesh:
  """Returns a mesh of all devices along one axis, "data"."""
  return jax.make_mesh(
    (jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,)
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding with the whole array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def by_example(mesh: Mesh) -> NamedSharding:
  """Returns the sharding that spreads the leading axis over the devices."""
  return NamedSharding(mesh, PartitionSpec(AXIS))


def state_shardings(abstract: Any, mesh: Mesh, *, fully_sharded: bool) -> Any:
  """Returns the sharding of each array of a training state.

  Args:
    abstract: Pytree with the shapes of the state.
    mesh: Devices.
    fully_sharded: Cut each array along its longest axis that divides over the
      devices, and gather it only where it is used. Parameters, averages and the
      optimizer's state together then take one device's share of memory each.
      Otherwise every device holds all arrays.

  Returns:
    Pytree of shardings, with the structure of `abstract`.
  """

  def place(leaf):
    if not fully_sharded:
      return replicated(mesh)
    sizes = [n for n in leaf.shape if n % mesh.size == 0]
    if not sizes:
      return replicated(mesh)
    # The last of equal axes: the first axis of a stack is its depth.
    axis = len(leaf.shape) - 1 - leaf.shape[::-1].index(max(sizes))
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))

  return jax.tree.map(place, abstract)


def copy_to(tree: Any, shardings: Any) -> Any:
  """Returns copies of a pytree's arrays, placed by a pytree of shardings."""
  return jax.jit(
    lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=shardings
  )(tree)


def put_batch(batch: Any, mesh: Mesh) -> Any:
  """Spreads this process's part of a batch of numpy arrays over its devices."""
  sharding = by_example(mesh)
  return jax.tree.map(
    lambda array: jax.make_array_from_process_local_data(
      sharding, np.asarray(array)
    ),
    batch,
  )


def check_batch_size(batch_size: int, mesh: Mesh, name: str) -> None:
  """Raises ValueError if a batch does not divide over the devices."""
  devices = mesh.devices.size
  if batch_size % devices:
    above = -(-batch_size // devices) * devices
    sizes = [size for size in (above - devices, above) if size]
    raise ValueError(
      f"{name} is {batch_size}, which does not divide over {devices} devices:"
      f" choose {' or '.join(map(str, sizes))}."
    )
