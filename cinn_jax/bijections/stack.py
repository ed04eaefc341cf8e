"""Copies of one block in sequence, and the memory that their gradient takes."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  COLLECTIONS,
  Array,
  Bijection,
  Condition,
  PyTree,
  at_least_float32,
  zero_log_det,
)
from cinn_jax.bijections.reversible import run_reversibly

# What a `Stack` can keep for its gradient.
MEMORY_POLICIES = ("store", "remat", "reversible")

# Collections of which every block has its own if blocks are not scanned. Their
# reports go into one place.
_APART = ("params", "constants")


class Stack(Bijection):
  """`depth` copies of `block` in sequence, each with its own parameters.

  By default the copies are scanned: their variables are stacked on a leading
  axis and the block is compiled once, so compile time does not grow with depth.
  Otherwise every copy has its own variables and is compiled separately. With
  wide blocks such a step is faster, because their weights need not be copied
  into a loop or their gradients out of it. Both ways draw the same initial
  values.

  `block` must map a shape to itself. It must draw its random values from the
  random stream of the initialisation (a `Permutation` without `seed`): a fixed
  seed would give every copy the same values. Make a new block for each stack:
  as everywhere in Flax, two modules that receive the same object share its
  parameters.

  The memory policy says what the gradient keeps of each copy, and so how memory
  grows with depth. It changes no value:

    "store"       Keeps everything that the gradient needs.
    "remat"       Keeps the input and computes the rest again.
    "reversible"  Keeps nothing: inputs are rebuilt by the inverse; gradients
                  are as exact as the inverse. Reverse mode only, and not for
                  blocks with a slow inverse, which are autoregressive.

  Attributes:
    block: The block to copy.
    depth: Number of copies.
    memory: One of `MEMORY_POLICIES`.
    scanned: Whether the copies are scanned. If not, `memory` must be "store",
      and blocks must not have running statistics.
  """

  block: Bijection
  depth: int
  memory: str = "store"
  scanned: bool = True

  def setup(self) -> None:
    if self.memory not in MEMORY_POLICIES:
      raise ValueError(
        f"Unknown memory policy {self.memory!r}; there are"
        f" {', '.join(MEMORY_POLICIES)}."
      )
    if not self.scanned and self.memory != "store":
      raise ValueError(
        f"The memory policy {self.memory!r} is for scanned blocks: pass"
        " scanned=True (in a config, model.scanned), or the policy store."
      )
    if self.memory == "reversible" and not self.block.cheap_inverse:
      raise ValueError(
        "The memory policy 'reversible' runs the inverse of each block for its"
        " gradient, which is one token after the other for autoregressive"
        " blocks: take the policy remat."
      )

  def forward(self, x: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run("forward", x, cond)

  def inverse(self, z: Array, cond: Condition = None) -> tuple[Array, Array]:
    return self._run("inverse", z, cond)

  def _run(
    self, direction: str, x: Array, cond: Condition
  ) -> tuple[Array, Array]:
    # A scan's carry keeps its dtype, and affine heads return at least float32.
    x = x.astype(at_least_float32(x.dtype))
    run = functools.partial(self._scan, direction)
    if not self.scanned:
      return self._run_apart(run, direction, x, cond)
    if self.memory == "reversible" and not self.is_initializing():
      return run_reversibly(
        run=run,
        block=self.block,
        depth=self.depth,
        direction=direction,
        x=x,
        cond=cond,
      )
    return run(self.block, x, cond)

  def _scan(
    self, direction: str, block: Bijection, x: Array, cond: Condition
  ) -> tuple[Array, Array]:
    def step(block, carry, _):
      x, total = carry
      x, log_det = getattr(block, direction)(x, cond)
      return (x, total + log_det), None

    if self.memory == "remat":
      # The loop already keeps the two computations apart.
      step = nn.remat(step, prevent_cse=False)
    scan = nn.scan(
      step,
      variable_axes={"params": 0, **dict.fromkeys(COLLECTIONS, 0)},
      split_rngs={"params": True},
      length=self.depth,
      reverse=direction == "inverse",
    )
    (x, total), _ = scan(block, (x, zero_log_det(x)), None)
    return x, total

  def _run_apart(
    self,
    scan: Callable[[Bijection, Array, Condition], tuple[Array, Array]],
    direction: str,
    x: Array,
    cond: Condition,
  ) -> tuple[Array, Array]:
    if self.is_initializing():
      # Through the scan, so that the initialisers are compiled only once.
      by_scan = nn.map_variables(
        scan,
        mapped_collections=_APART,
        trans_in_fn=self._stacked,
        trans_out_fn=self._apart,
        init=True,
        mutable=True,
      )
      result = by_scan(self.block, x, cond)
      if "batch_stats" in self.block.variables:
        raise ValueError(
          "Blocks with running statistics must be scanned: pass scanned=True."
        )
      return result
    total = zero_log_det(x)
    depths = range(self.depth)
    for k in depths if direction == "forward" else reversed(depths):
      run = nn.map_variables(
        lambda block, x: getattr(block, direction)(x, cond),
        mapped_collections=_APART,
        trans_in_fn=functools.partial(self._one, k),
      )
      x, log_det = run(self.block, x)
      total += log_det
    return x, total

  def _apart(self, variables: PyTree) -> PyTree:
    """Unstacks every collection into {"0": block 0, "1": block 1, ...}.

    `_stacked` is the inverse; `_one` takes a single block from the result.
    """
    return {
      name: {
        f"{k}": jax.tree.map(lambda leaf, k=k: leaf[k], tree)
        for k in range(self.depth)
      }
      for name, tree in variables.items()
    }

  def _stacked(self, variables: PyTree) -> PyTree:
    return {
      name: jax.tree.map(
        lambda *leaves: jnp.stack(leaves),
        *(tree[f"{k}"] for k in range(self.depth)),
      )
      for name, tree in variables.items()
    }

  def _one(self, k: int, variables: PyTree) -> PyTree:
    return {name: tree[f"{k}"] for name, tree in variables.items()}
