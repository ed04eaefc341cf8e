"""Where arrays live: one mesh of devices, one device being the trivial one."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh() -> Mesh:
  """All devices along one axis, "data"."""
  return jax.make_mesh(
    (jax.device_count(),), ("data",), axis_types=(AxisType.Auto,)
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """The same array on every device."""
  return NamedSharding(mesh, PartitionSpec())


def by_example(mesh: Mesh) -> NamedSharding:
  """The leading axis spread over the devices."""
  return NamedSharding(mesh, PartitionSpec("data"))


def of_state(abstract, mesh: Mesh, *, fully_sharded: bool):
  """Where each array of a training state lives, of `abstract`'s structure.

  Fully sharded, an array is cut along its longest axis that divides over the
  devices, and gathered only where it is used: parameters, averages and the
  optimizer's state together take one device's share of memory each. Otherwise
  every device has all of it.
  """

  def place(leaf):
    if not fully_sharded:
      return replicated(mesh)
    whole = [n for n in leaf.shape if n % mesh.size == 0]
    if not whole:
      return replicated(mesh)
    # The last of equal ones: the first axis of a stack is its depth.
    axis = len(leaf.shape) - 1 - leaf.shape[::-1].index(max(whole))
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))

  return jax.tree.map(place, abstract)


def copied(tree, places):
  """Copies of a tree's arrays that live at `places`, of its structure."""
  return jax.jit(
    lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=places
  )(tree)


def put_batch(batch, mesh: Mesh):
  """A batch of numpy arrays, this process's part, onto the devices."""
  sharding = by_example(mesh)
  return jax.tree.map(
    lambda array: jax.make_array_from_process_local_data(
      sharding, np.asarray(array)
    ),
    batch,
  )


def check_batch_size(batch_size: int, mesh: Mesh, name: str):
  """Raises ValueError where a batch does not divide over the devices."""
  devices = mesh.devices.size
  if batch_size % devices:
    above = -(-batch_size // devices) * devices
    sizes = [size for size in (above - devices, above) if size]
    raise ValueError(
      f"{name} is {batch_size}, which does not divide over {devices} devices:"
      f" choose {' or '.join(map(str, sizes))}."
    )
