"""A loss and its gradient, each device with its own rows of a batch."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from cinn_jax.runtime.sharding import AXIS


def value_and_grad(
  loss: Callable[..., Any], mesh: Mesh | None
) -> Callable[..., Any]:
  """Returns `jax.value_and_grad(loss, has_aux=True)`, by device.

  XLA, left to itself, reduces the gradient of a layer as soon as it is known:
  inside loops over layers, in many small messages. Here each device first
  finishes the gradient of its own rows, and all gradients are reduced after
  that, together.

  `loss(params, constants, x, cond, last)` returns the mean over its rows, and
  `(measured, updated)` next to it. `measured` is a dict of "parts", a pytree
  with an entry for each row; "max_log_scale"; and "auxiliary_loss", a mean or
  None. `updated` is empty.

  Args:
    loss: The function to differentiate, by its first argument.
    mesh: Devices over which rows are spread along the axis "data"; None, or one
      device, leaves everything to XLA.
  """
  whole = jax.value_and_grad(loss, has_aux=True)
  if mesh is None or mesh.size == 1:
    return whole

  def own_rows(*arguments):
    (value, (measured, updated)), grads = whole(*arguments)
    value, grads, auxiliary = jax.lax.pmean(
      (value, grads, measured["auxiliary_loss"]), AXIS
    )
    largest = jax.lax.pmax(measured["max_log_scale"], AXIS)
    scalars = {"max_log_scale": largest, "auxiliary_loss": auxiliary}
    return (value, ({**measured, **scalars}, updated)), grads

  same, rows = PartitionSpec(), PartitionSpec(AXIS)
  measured = {"parts": rows, "max_log_scale": same, "auxiliary_loss": same}
  return jax.shard_map(
    own_rows,
    mesh=mesh,
    in_specs=(same, same, rows, rows, same),
    out_specs=((same, (measured, same)), same),
    # The bijections' own derivatives do not say what varies over devices.
    check_vma=False,
  )
