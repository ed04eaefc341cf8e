"""What a config's model is: parameters, latents, FLOPs; nothing allocated."""

import math

import jax
import jax.numpy as jnp

from cinn_jax import experiment
from cinn_jax.flow import split_variables
from cinn_jax.models.convolution import LAYOUT_NUMBERS, cpu_conv_p


def describe(config) -> str:
  """A table of the model's parts, its latents and its cost, as text."""
  flow, task = experiment.build(config)
  variables = experiment.abstract_variables(flow, task)
  params, constants = split_variables(variables)
  lines = [f"Model {config.model.name}: {task.describe}.", "", "Parameters"]
  rows = [*_parts(params), ("total, trained", _count(params))]
  for collection in constants.values():
    rows += [(f"{name} (constant)", n) for name, n in _parts(collection)]
  rows.append(("constants, not trained", _count(constants)))
  lines += _table((name, f"{count:,}") for name, count in rows)
  cond = jax.ShapeDtypeStruct((1, *task.cond_shape), jnp.float32)
  latents = jax.tree.leaves(flow.latents(variables, cond))
  lines += ["", f"Latents of x {list(task.event_shape)}, finest first"]
  lines += _table(
    (f"level {k} {list(z.shape[1:])}", f"{math.prod(z.shape[1:]):,}")
    for k, z in enumerate(latents)
  )
  lines += ["", "FLOPs per image (matrix products and convolutions)"]
  x = jax.ShapeDtypeStruct((1, *task.event_shape), jnp.float32)
  one = flops(flow.forward, variables, x, cond)

  def sample(n):
    key = jax.eval_shape(lambda: jax.random.key(0))
    return flops(
      lambda v, k, c: flow.sample(v, k, c, num_samples=n), variables, key, cond
    )

  lines += _table(
    [
      ("forward, data to latent", f"{one / 1e9:,.3f} G"),
      ("1 sample", f"{sample(1) / 1e9:,.3f} G"),
      ("8 samples of one condition", f"{sample(8) / 1e9:,.3f} G"),
    ]
  )
  return "\n".join(lines)


def flops(function, *arguments) -> int:
  """FLOPs of a call's matrix products and convolutions, loops unrolled.

  A multiply-add counts as two. Traces only: arguments may be abstract.
  """
  return _jaxpr_flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _jaxpr_flops(jaxpr):
  total = 0
  for equation in jaxpr.eqns:
    name = equation.primitive.name
    if name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      total += 2 * _outputs(equation) * math.prod(shape[d] for d in contracted)
    elif name in ("conv_general_dilated", cpu_conv_p.name):
      kernel = equation.invars[1].aval.shape
      total += 2 * _outputs(equation) * math.prod(kernel) // _filters(equation)
    repeats = equation.params["length"] if name == "scan" else 1
    for inner in _inner(equation.params):
      total += repeats * _jaxpr_flops(inner)
  return total


def _filters(convolution):
  """The number of output channels, in whichever layout the weights are."""
  numbers = convolution.params.get("dimension_numbers", LAYOUT_NUMBERS)
  return convolution.invars[1].aval.shape[numbers.rhs_spec[0]]


def _outputs(equation):
  return math.prod(equation.outvars[0].aval.shape)


def _inner(params):
  for value in params.values():
    for candidate in value if isinstance(value, (tuple, list)) else (value,):
      candidate = getattr(candidate, "jaxpr", candidate)
      if hasattr(candidate, "eqns"):
        yield candidate


def _parts(params):
  """(name, count) of the parts, two levels deep."""
  for name, part in sorted(params.items()):
    inner = {k: v for k, v in part.items() if isinstance(v, dict)}
    for child, tree in sorted(inner.items()):
      yield f"{name}/{child}", _count(tree)
    yield name, _count(part)


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _table(rows):
  return [f"  {name:<44}{value:>16}" for name, value in rows]
