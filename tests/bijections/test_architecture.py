"""Architectures as plain data: a module comes back, and no other code runs."""

import functools
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.bijections import architecture
from cinn_jax.models.networks import taming
from cinn_jax.models.networks.subnets import Subnet
from tests.support.registry import CASES, Head

NET = functools.partial(Subnet, widths=(4,), kernels=(1, 1))


def _again(module):
  """Returns a module after a way through JSON, and its description."""
  text = json.dumps(architecture.describe(module), allow_nan=False)
  built = architecture.build(json.loads(text))
  assert json.dumps(architecture.describe(built)) == text
  return built


# The last one has a head of the tests.
@pytest.mark.parametrize("name", [n for n in CASES if n != "multi_scale"])
def test_every_bijection_comes_back(name):
  module = CASES[name].bijection
  assert type(_again(module)) is type(module)


@pytest.mark.parametrize(
  "value",
  [
    (1, [2.5, None, True], {"a": (), "b": [3]}),
    (float("inf"), 0.1),
    (jnp.bfloat16, np.float32, np.dtype("int8"), jnp.dtype("bfloat16")),
    (jax.nn.relu, nn.tanh, nn.initializers.zeros),
    (Subnet, nn.Conv, bj.mixing_named),
  ],
)
def test_values_come_back(value):
  again = _again(value)
  assert again == value
  kinds = [type(part) for part in jax.tree.leaves(value)]
  assert [type(part) for part in jax.tree.leaves(again)] == kinds


@pytest.mark.parametrize(
  "array",
  [
    np.arange(6.0).reshape(2, 3).T,
    np.float32(0.1),
    np.ones((), jnp.bfloat16),
    jnp.arange(3),
  ],
)
def test_arrays_come_back(array):
  again = _again(array)
  assert type(again) is type(array) and again.dtype == array.dtype
  np.testing.assert_array_equal(again, array)


def test_keys_come_back():
  value = {3: "a", (1, 2): -float("inf")}
  assert _again(value) == value


def test_partial_comes_back():
  activation = functools.partial(jax.nn.leaky_relu, negative_slope=0.01)
  again = _again(functools.partial(Subnet, (4,), activation=activation))
  assert again.func is Subnet and again.args == ((4,),)
  assert again.keywords["activation"].func is jax.nn.leaky_relu
  assert again.keywords["activation"].keywords == {"negative_slope": 0.01}


def test_a_module_that_occurs_twice_keeps_one_set_of_parameters():
  x, key = jnp.ones((2, 4)), jax.random.key(0)
  coupling = bj.AffineCoupling(NET)
  for parts in ((coupling, coupling), (coupling, bj.AffineCoupling(NET))):
    module = bj.Chain(parts)
    names = jax.tree.structure(jax.eval_shape(module.init, key, x))
    again = jax.eval_shape(_again(module).init, key, x)
    assert jax.tree.structure(again) == names


def test_names_that_have_moved_are_found():
  subnet = taming.TamedSubnet((4,), (1, 1))
  described = json.dumps(architecture.describe(subnet))
  earlier = described.replace("networks.taming", "vector_flow")
  assert earlier != described
  assert architecture.build(json.loads(earlier)) == subnet


def test_names_of_modules_come_back():
  assert _again(bj.Chain((bj.ActNorm(name="first"),))).parts[0].name == "first"


class Own(bj.Bijection):
  """A bijection of a user."""


@pytest.mark.parametrize(
  "part, name",
  [
    (Own(), r"test_architecture\.Own"),
    (bj.AffineCoupling(lambda: Subnet((), (1,))), "<lambda>"),
    (bj.Conditioned(Own(), 0, Head()), "Own"),
    (bj.AffineCoupling(pathlib.Path), "Path"),
    (bj.AffineCoupling(functools.partial(jax.jit, NET)), "jit"),
    (nn.Conv(3, (1,), kernel_init=nn.initializers.normal(0.5)), "init"),
  ],
)
def test_foreign_part_is_named(part, name):
  with pytest.raises(architecture.Unknown, match=f"{name}.* is not a class"):
    architecture.describe(bj.Chain((part,)))


@pytest.mark.parametrize(
  "name",
  [
    "os.system",
    "builtins.eval",
    "cinn_jax.runtime.storage.move",
    "cinn_jax.main.MODES",
    "cinn_jax.bijections.stack.jax",
    "cinn_jax.bijections.architecture.importlib.import_module",
    "cinn_jax.bijectionsx.Chain",
    "cinn_jax.bijections.base.NoSuchClass",
    "cinn_jax.bijections.no_such_file.Chain",
    "cinn_jax.bijections.base",
    "flax.linen.linear.Conv",
    "jax.nn.functions",
    "jax.nn.__builtins__",
    "Chain",
    "",
  ],
)
def test_names_of_other_code_are_refused(name):
  for tree in (
    {"name": name},
    {"module": name, "fields": {}},
    {"partial": name, "args": [], "keywords": {}},
  ):
    with pytest.raises(architecture.Unknown, match="is not a class"):
      architecture.build(tree)


@pytest.mark.parametrize(
  "tree",
  [
    {},
    {"code": "1 + 1"},
    {"tuple": 3},
    {"again": 0},
    {"module": "cinn_jax.bijections.base.Chain"},
    {"module": "cinn_jax.bijections.linear.mixing_named", "fields": {}},
    {"module": "flax.linen.relu", "fields": {}},
    {"module": "cinn_jax.bijections.base.Chain", "fields": {"x": 1}},
    {"dtype": "system", "kind": "jax"},
    {"partial": None, "args": [], "keywords": {}},
  ],
)
def test_what_is_no_architecture_raises(tree):
  with pytest.raises(ValueError):
    architecture.build(tree)
