"""`--mode=describe`: counts a model's parameters, latents and FLOPs."""

import math

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cinn_jax.experiment.build import abstract_cond, abstract_variables, build
from cinn_jax.experiment.padding import weights_on_padding
from cinn_jax.flow import split_variables
from cinn_jax.runtime.flops import flops


def describe(config: ConfigDict) -> str:
  """Describes a config's model: its parts, its latents and its cost, as text.

  It allocates nothing, so any size of model can be described anywhere.
  """
  flow, task = build(config)
  variables = abstract_variables(flow, task)
  params, constants = split_variables(variables)
  lines = [f"Model {config.model.name}: {task.description}.", "", "Parameters"]
  rows = [*_parts(params), ("total, trained", _count(params))]
  x = jax.ShapeDtypeStruct((1, *task.event_shape), jnp.float32)
  cond = abstract_cond(task)
  idle = 0
  if flow.objective is None:
    idle = weights_on_padding(flow, variables, x, cond)
  if idle:
    rows.append(("of these only on padding, never trained", idle))
  for collection in constants.values():
    rows += [(f"{name} (constant)", n) for name, n in _parts(collection)]
  rows.append(("constants, not trained", _count(constants)))
  lines += _table((name, f"{count:,}") for name, count in rows)
  if idle:
    lines.append(
      f"  {idle / _count(params):.1%} of the weights only ever multiply padding"
      " at this size and get no gradient: take larger pictures or fewer levels."
    )
  latents = jax.tree.leaves(flow.latent_shapes(variables, cond))
  lines += ["", f"Latents of x {list(task.event_shape)}, finest first"]
  lines += _table(
    (f"level {k} {list(z.shape[1:])}", f"{math.prod(z.shape[1:]):,}")
    for k, z in enumerate(latents)
  )
  lines += ["", "FLOPs per image (matrix products and convolutions)"]
  rows = []
  if flow.objective is None:
    one = flops(flow.forward, variables, x, cond)
    rows = [("forward, data to latent", _giga(one))]

  def sample(n):
    key = jax.eval_shape(lambda: jax.random.key(0))
    return flops(
      lambda v, k, c: flow.sample(v, k, c, num_samples=n), variables, key, cond
    )

  lines += _table(
    [
      *rows,
      ("1 sample", _giga(sample(1))),
      ("8 samples of one condition", _giga(sample(8))),
    ]
  )
  return "\n".join(lines)


def _parts(params):
  """Yields (name, count) of the parts, two levels deep."""
  for name, part in sorted(params.items()):
    inner = {k: v for k, v in part.items() if isinstance(v, dict)}
    for child, tree in sorted(inner.items()):
      yield f"{name}/{child}", _count(tree)
    yield name, _count(part)


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _giga(flops):
  return "unknown" if flops is None else f"{flops / 1e9:,.3f} G"


def _table(rows):
  return [f"  {name:<44}{value:>16}" for name, value in rows]
