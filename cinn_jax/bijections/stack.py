"""Copies of one block in sequence, and what they keep for their gradient."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import (
  COLLECTIONS,
  Bijection,
  at_least_float32,
  zero_log_det,
)
from cinn_jax.bijections.reversible import run_reversibly

# What a `Stack` may keep for its gradient.
MEMORY_POLICIES = ("store", "remat", "reversible")

# What blocks that are not scanned have each of their own. What they report goes
# into one place.
_APART = ("params", "constants")


class Stack(Bijection):
  """`depth` copies of `block` in sequence, each with parameters of its own.

  The copies are scanned: their variables are stacked on a leading axis and the
  block is compiled once, so compile time does not grow with depth. Not scanned,
  every copy has its variables and is compiled for itself: where blocks are
  wide, a step is quicker by what it costs to bring their weights into a loop
  and their gradients out of it. They are drawn alike either way. `block` must
  map a shape to itself, and draw what it draws from the initialisation's
  random stream (a `Permutation` without `seed`): a fixed seed would give every
  copy the same. Make a new block for each stack: as everywhere in Flax, two
  that are handed one object share its parameters.

  A memory policy says what the gradient keeps of each copy, and so what memory
  grows by with depth; it changes no value:

    "store"       all that the gradient needs.
    "remat"       its input; the rest is computed again.
    "reversible"  nothing; its input is rebuilt from its output by its inverse,
                  to which the gradients are as exact as that is. Reverse-mode
                  derivatives alone.

  Attributes:
    block: what is copied.
    depth: how many copies.
    memory: one of `MEMORY_POLICIES`.
    scanned: whether they are. Otherwise `memory` has to be "store", and blocks
      must not have running statistics.
  """

  block: Bijection
  depth: int
  memory: str = "store"
  scanned: bool = True

  def setup(self):
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

  def forward(self, x, cond=None):
    return self._run("forward", x, cond)

  def inverse(self, z, cond=None):
    return self._run("inverse", z, cond)

  def _run(self, direction, x, cond):
    # A scan's carry keeps its type, and affine heads return at least float32.
    x = x.astype(at_least_float32(x.dtype))
    run = functools.partial(self._scan, direction)
    if not self.scanned:
      return self._run_apart(run, direction, x, cond)
    if self.memory == "reversible" and not self.is_initializing():
      return run_reversibly(run, self.block, self.depth, direction, x, cond)
    return run(self.block, x, cond)

  def _scan(self, direction, block, x, cond):
    def step(block, carry, _):
      x, total = carry
      x, log_det = getattr(block, direction)(x, cond)
      return (x, total + log_det), None

    if self.memory == "remat":
      # The loop itself keeps the second computation apart from the first.
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

  def _run_apart(self, scan, direction, x, cond):
    if self.is_initializing():
      # By the scan: what draws them is then compiled once, too.
      by_scan = nn.map_variables(
        *(scan, _APART, self._stacked, self._apart), init=True, mutable=True
      )
      result = by_scan(self.block, x, cond)
      if "batch_stats" in self.block.variables:
        raise ValueError(
          "Blocks with running statistics have to be scanned: pass"
          " scanned=True."
        )
      return result
    total = zero_log_det(x)
    depths = range(self.depth)
    for k in depths if direction == "forward" else reversed(depths):
      run = nn.map_variables(
        lambda block, x: getattr(block, direction)(x, cond),
        *(_APART, functools.partial(self._one, k)),
      )
      x, log_det = run(self.block, x)
      total += log_det
    return x, total

  def _apart(self, variables):
    """By collection and name of the block, of a tree whose leaves are stacked.

    Inverted by `_stacked`; `_one` takes a block of it.
    """
    return {
      name: {
        f"{k}": jax.tree.map(lambda leaf, k=k: leaf[k], tree)
        for k in range(self.depth)
      }
      for name, tree in variables.items()
    }

  def _stacked(self, variables):
    return {
      name: jax.tree.map(
        lambda *leaves: jnp.stack(leaves),
        *(tree[f"{k}"] for k in range(self.depth)),
      )
      for name, tree in variables.items()
    }

  def _one(self, k, variables):
    return {name: tree[f"{k}"] for name, tree in variables.items()}
