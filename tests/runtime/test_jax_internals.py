"""The assumptions about JAX's internals, and the fallbacks without them.

A test that fails here names the assumption that a new version of JAX broke.
"""

import importlib
import importlib.util
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from jax import lax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from cinn_jax.experiment.describe import describe
from cinn_jax.runtime import cpu_convolution, jax_internals
from cinn_jax.runtime.flops import flops, jaxpr_flops
from configs import mnist
from tests.support import compilation

_ATTRIBUTES = [
  ("jax.core", "ShapedArray"),
  ("jax.extend.core", "Primitive"),
  ("jax.interpreters.ad", "defbilinear"),
  ("jax.interpreters.batching", "primitive_batchers"),
  ("jax.interpreters.mlir", "lower_fun"),
  ("jax.interpreters.mlir", "register_lowering"),
]
_FALLBACK = "cpu_convolution falls back to lax"
_A, _B = jnp.ones((3, 4)), jnp.ones((4, 4))
_ONCE = 2 * 3 * 4 * 4


def _convolve(module, x, w):
  return module.conv_general_dilated(
    x,
    w,
    window_strides=(1, 1),
    padding="SAME",
    dimension_numbers=cpu_convolution.LAYOUT_NUMBERS,
  )


def _scanned_gradients(module):
  """Returns the gradients of a loop over convolutions."""

  def loss(x, w):
    out, _ = lax.scan(
      lambda x, w: (jnp.tanh(_convolve(module, x, w)), None), x, w
    )
    return jnp.sum(out)

  random = np.random.default_rng(0)
  x = jnp.asarray(random.normal(size=(2, 5, 6, 3)), jnp.float32)
  w = jnp.asarray(random.normal(size=(2, 3, 3, 3, 3)), jnp.float32)
  return jax.grad(loss, (0, 1))(x, w)


@pytest.mark.parametrize(("module", "attribute"), _ATTRIBUTES)
def test_attribute_exists(module, attribute):
  found = hasattr(importlib.import_module(module), attribute)
  assert found, f"{module}.{attribute} is gone: {_FALLBACK}"


@pytest.mark.parametrize("method", ["bind", "def_impl", "def_abstract_eval"])
def test_primitive_has_method(method):
  from jax.extend.core import Primitive

  found = hasattr(Primitive("any"), method)
  assert found, f"jax.extend.core.Primitive.{method} is gone: {_FALLBACK}"


def test_primitive_is_defined():
  assert cpu_convolution.cpu_conv_p is not None, _FALLBACK


def test_linear_operands_have_shapes():
  try:
    _scanned_gradients(cpu_convolution)
  except AttributeError as error:
    pytest.fail(f"the operand of a transpose rule has no aval.shape: {error}")


def _equation(name, function, *arguments):
  """Returns the equation of that name in a traced function."""
  closed = jax.make_jaxpr(function)(*arguments)
  assert hasattr(closed, "eqns"), "make_jaxpr(f)(x).eqns is gone: no FLOPs"
  names = [equation.primitive.name for equation in closed.eqns]
  assert name in names, f"{name} is now one of {names}: no FLOPs"
  return closed.eqns[names.index(name)]


def test_equations_have_shapes():
  equation = _equation("dot_general", jnp.matmul, _A, _B)
  inputs = [operand.aval.shape for operand in equation.invars]
  assert inputs == [(3, 4), (4, 4)], "invars have no aval.shape: no FLOPs"
  outputs = [result.aval.shape for result in equation.outvars]
  assert outputs == [(3, 4)], "outvars have no aval.shape: no FLOPs"


def test_products_have_contracted_axes():
  params = _equation("dot_general", jnp.matmul, _A, _B).params
  numbers = params.get("dimension_numbers")
  assert numbers == (((1,), (0,)), ((), ())), (
    f"dimension_numbers of dot_general are now {numbers}: wrong FLOPs"
  )


def test_convolutions_have_a_layout():
  x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
  params = _equation(
    "conv_general_dilated", lambda: _convolve(lax, x, w)
  ).params
  numbers = params.get("dimension_numbers")
  assert numbers.rhs_spec[0] == 3, (
    f"dimension_numbers of conv_general_dilated are now {numbers}: wrong FLOPs"
  )


def test_loops_have_a_length():
  def loop(a):
    return lax.scan(lambda carry, _: (carry @ _B, None), a, length=7)

  params = _equation("scan", loop, _A).params
  assert params.get("length") == 7, "scan has no length: wrong FLOPs"
  assert flops(loop, _A) == 7 * _ONCE, "the body of scan is not found"


def test_conditionals_have_branches():
  def choice(a):
    return lax.cond(a[0, 0] > 0, lambda: a @ _B, lambda: a @ _B @ _B)

  params = _equation("cond", choice, _A).params
  assert len(params.get("branches", ())) == 2, "cond has no branches: no FLOPs"
  assert flops(choice, _A) == 2 * _ONCE, "the branches of cond are not found"


def test_work_by_device_has_a_mesh():
  rows = PartitionSpec("data")
  spread = jax.shard_map(
    lambda a: a @ _B,
    mesh=AbstractMesh((3,), ("data",), axis_types=(AxisType.Auto,)),
    in_specs=rows,
    out_specs=rows,
  )
  params = _equation("shard_map", spread, _A).params
  assert params["mesh"].size == 3, "shard_map has no mesh: wrong FLOPs"
  assert flops(spread, _A) == _ONCE, "the body of shard_map is not found"


def test_calls_have_bodies():
  assert flops(jax.jit(jnp.matmul), _A, _B) == _ONCE, (
    "the body of a jitted function is not found: wrong FLOPs"
  )


# The fallbacks.


def _import_again():
  """Returns another copy of `cpu_convolution`, for this test alone."""
  spec = importlib.util.spec_from_file_location(
    "another_cpu_convolution", cpu_convolution.__file__
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _assert_falls_back(module, missing, monkeypatch):
  """Checks the gradients, and that what is missing is logged at most once."""
  logged = []

  def log(level, message, times, *arguments):
    assert (level, times) == (logging.WARNING, 1)
    logged.append(message % arguments)

  monkeypatch.setattr(logging, "log_first_n", log)
  assert module.cpu_conv_p is None
  jax.tree.map(
    np.testing.assert_array_equal,
    _scanned_gradients(module),
    _scanned_gradients(lax),
  )
  assert missing in logged[0], logged


@pytest.mark.parametrize(("owner", "attribute"), _ATTRIBUTES)
def test_convolution_without_an_attribute(owner, attribute, monkeypatch):
  with monkeypatch.context() as patch:
    patch.delattr(importlib.import_module(owner), attribute)
    module = _import_again()
  _assert_falls_back(module, attribute, monkeypatch)


@pytest.mark.parametrize("hidden", ["jax.extend.core", "jax.interpreters"])
def test_convolution_without_a_module(hidden, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setitem(sys.modules, hidden, None)
    module = _import_again()
  _assert_falls_back(module, hidden, monkeypatch)


def test_unreadable_jaxprs_have_unknown_flops():
  assert jaxpr_flops(object()) is None


def test_description_without_flops(monkeypatch):
  def changed(jaxpr):
    raise jax_internals.Changed("no equations")

  monkeypatch.setattr(jax_internals, "operations", changed)
  text = describe(mnist.get_config("paper"))
  assert "54,424,320" in text and "unknown" in text and "G\n" not in text


def test_unknown_options_are_skipped():
  compilation.configure(jax_option_of_another_version=True)
  assert "JAX_OPTION_OF_ANOTHER_VERSION" not in os.environ
