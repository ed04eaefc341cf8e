"""The only module of the package that uses JAX's internals.

Any release of JAX may change them. Every function here then raises `Changed`,
which its callers turn into a slower or less informative result.
tests/runtime/test_jax_internals.py has one test for each assumption.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

# The primitive of `cpu_convolution`, whose weights are HWIO.
CPU_CONV = "cpu_conv"
_OUTPUT_AXIS = 3


class Changed(Exception):
  """JAX no longer has something that this module uses."""


def bilinear_primitive(
  name: str,
  function: Callable[..., jax.Array],
  transpose_lhs: Callable[..., jax.Array],
  transpose_rhs: Callable[..., jax.Array],
  batch: Callable[..., tuple[jax.Array, int]],
  static: tuple[str, ...],
) -> Any:
  """Returns a primitive that is linear in each of its two operands.

  Args:
    name: Name of the primitive in jaxprs.
    function: `function(lhs, rhs, **params)`, which it computes.
    transpose_lhs: `transpose_lhs(cotangent, lhs_shape, rhs, **params)`, the
      cotangent of lhs.
    transpose_rhs: `transpose_rhs(cotangent, lhs, rhs_shape, **params)`.
    batch: `batch((lhs, rhs), axes, **params)` for `vmap`; returns the result
      and its batch axis.
    static: Names of the parameters.

  Raises:
    Changed: if JAX lacks what this needs; the message names it.
  """

  def abstract(lhs, rhs, **params):
    out = jax.eval_shape(functools.partial(function, **params), lhs, rhs)
    return jax.core.ShapedArray(out.shape, out.dtype)

  def lhs_rule(cotangent, lhs, rhs, **params):
    return transpose_lhs(cotangent, lhs.aval.shape, rhs, **params)

  def rhs_rule(cotangent, lhs, rhs, **params):
    return transpose_rhs(cotangent, lhs, rhs.aval.shape, **params)

  with _internals():
    from jax.extend.core import Primitive
    from jax.interpreters import ad, batching, mlir

    _ = jax.core.ShapedArray
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(function, static_argnames=static))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(
      primitive, mlir.lower_fun(function, multiple_results=False)
    )
    ad.defbilinear(primitive, lhs_rule, rhs_rule)
    batching.primitive_batchers[primitive] = batch
    return primitive


class Operation(NamedTuple):
  """One equation of a jaxpr, reduced to what its cost depends on.

  Attributes:
    outputs: Number of values that a matrix product or convolution computes, 0
      for any other operation.
    summands: Number of products that each of these values sums.
    bodies: Jaxprs that the operation contains.
    repeats: Number of times that it runs each of them.
    is_choice: It runs one of them, which is known only at run time.
  """

  outputs: int
  summands: int
  bodies: list[Any]
  repeats: int
  is_choice: bool


def operations(jaxpr: Any) -> list[Operation]:
  """Returns the operations of a jaxpr, without those of its bodies.

  Raises:
    Changed: if the jaxpr cannot be read; the message names what is missing.
  """
  with _internals():
    return [_operation(equation) for equation in jaxpr.eqns]


def _operation(equation):
  name, params = equation.primitive.name, equation.params
  outputs, summands = 0, 0
  if name in ("dot_general", "conv_general_dilated", CPU_CONV):
    lhs, rhs = (operand.aval.shape for operand in equation.invars[:2])
    outputs = math.prod(equation.outvars[0].aval.shape)
    if name == "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      summands = math.prod(lhs[axis] for axis in contracted)
    elif name == CPU_CONV:
      summands = math.prod(rhs) // rhs[_OUTPUT_AXIS]
    else:
      summands = math.prod(rhs) // rhs[params["dimension_numbers"].rhs_spec[0]]
  is_choice = name == "cond"
  return Operation(
    outputs=outputs,
    summands=summands,
    bodies=list(_bodies(params["branches"] if is_choice else params.values())),
    repeats=_repeats(name, params),
    is_choice=is_choice,
  )


def _repeats(name, params):
  if name == "scan":
    return params["length"]
  # Each device runs the body, with shapes of its own part.
  return params["mesh"].size if name == "shard_map" else 1


def _bodies(values) -> Iterator[Any]:
  for value in values:
    for candidate in value if isinstance(value, (tuple, list)) else (value,):
      candidate = getattr(candidate, "jaxpr", candidate)
      if hasattr(candidate, "eqns"):
        yield candidate


@contextlib.contextmanager
def _internals():
  try:
    yield
  except (
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
  ) as error:
    reason = f"{type(error).__name__}: {error}"
    raise Changed(f"JAX {jax.__version__} has changed: {reason}") from error
