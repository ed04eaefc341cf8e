"""A data-parallel step moves only gradients and metrics between devices."""

import json
import math
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
_PROGRAM = """
import json
import jax
import numpy as np
from cinn_jax.experiment.build import build
from cinn_jax.runtime import sharding
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.workdir.state import init_state
from cinn_jax.training.step import make_train_step
from tests.support import tiny

config = tiny.digits(batch_size=64)
flow, task = build(config)
optimizer = make_optimizer(num_steps=9, **config.optimizer.to_dict())
mesh = sharding.make_mesh()
assert mesh.size == 8
everywhere, spread = sharding.replicated(mesh), sharding.by_example(mesh)
state = jax.eval_shape(
  lambda: init_state(jax.random.key(0), flow, task, optimizer)
)
batch = {
  "image": jax.ShapeDtypeStruct((64, 8, 8, 3), np.uint8),
  "label": jax.ShapeDtypeStruct((64,), np.int32),
}
step = make_train_step(
  flow, task, optimizer, seed=0, ema_decay=0.9, mesh=mesh
)
compiled = jax.jit(
  step, in_shardings=(everywhere, spread), out_shardings=everywhere
).lower(state, batch).compile()
shardings = sharding.state_shardings(state, mesh, fully_sharded=True)
placed = zip(jax.tree.leaves(state), jax.tree.leaves(shardings), strict=True)
print(json.dumps({
  "text": compiled.as_text(),
  "shards": [
    (leaf.shape, place.shard_shape(leaf.shape)) for leaf, place in placed
  ],
  "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.fit.params)),
}))
"""
_KINDS = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"


def _computations(text):
  """Returns {name: lines} of a compiled module, and the name of its entry."""
  computations, name, entry = {}, None, None
  for line in text.splitlines():
    if head := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
      name = head[2]
      entry = name if head[1] else entry
      computations[name] = []
    elif name:
      computations[name].append(line)
  return computations, entry


def _count_moved(computations, name):
  """Counts the numbers that all-reduces move, with loops unrolled."""
  total = 0
  for line in computations[name]:
    if result := re.search(r" = (.*?) all-reduce(-start)?\(", line):
      total += sum(
        _size(shape) for shape in re.findall(r"\w+\[([\d,]*)\]", result[1])
      )
    repeats = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
    for inner in re.findall(r"(?:body|calls|to_apply)=%?([\w.\-]+)", line):
      times = int(repeats[1]) if repeats and "body=" in line else 1
      total += times * _count_moved(computations, inner)
  return total


def _size(shape):
  size = 1
  for n in filter(None, shape.split(",")):
    size *= int(n)
  return size


@pytest.fixture(scope="module")
def compiled():
  """Returns what the program prints on eight devices."""
  result = subprocess.run(
    [sys.executable, "-c", _PROGRAM],
    cwd=ROOT,
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "8"},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  return json.loads(result.stdout)


def test_step_reduces_only_gradients_and_metrics(compiled):
  kinds = set(re.findall(rf"\s({_KINDS})(?:-start)?\(", compiled["text"]))
  assert kinds == {"all-reduce"}
  moved = _count_moved(*_computations(compiled["text"]))
  # The gradients, once; the loss and its two parts; the largest log-scale.
  assert moved == compiled["parameters"] + 4
  # Not one for each layer: a sum and a maximum, with all arrays together.
  assert len(re.findall(r"\sall-reduce(?:-start)?\(", compiled["text"])) == 2


def test_full_sharding_cuts_what_eight_divides(compiled):
  cut = 0
  for shape, shard in compiled["shards"]:
    if any(side % 8 == 0 for side in shape):
      assert 8 * math.prod(shard) == math.prod(shape)
      cut += 1
    else:
      assert shard == shape
  assert 0 < cut < len(compiled["shards"])
