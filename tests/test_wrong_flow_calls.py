"""Wrong calls of `make_flow` and of a flow's functions.

Each raises ValueError in one sentence that names the argument.
"""

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax.models.vector_flow import vector_flow
from tests.support.small_flow import COND, FLOW, KEY, Refuses, X

AWARE = cinn_jax.make_flow(FLOW.module, (2,), cond_shape=(3,))

MAKE = {
  "module_class": ((vector_flow, (2,)), "module must be a bijection"),
  "module_none": ((None, (2,)), "module must be a bijection.* got NoneType"),
  "module_type": ((bj.ActNorm, (2,)), "module must be .* got ActNorm"),
  "event_int": ((FLOW.module, 2), "event_shape must be the shape of one x"),
  "event_none": ((FLOW.module, None), "event_shape must be .* got None"),
  "event_empty": ((FLOW.module, ()), r"event_shape must be .* got \(\)"),
  "event_zero": ((FLOW.module, (0,)), "event_shape must be"),
  "event_negative": ((FLOW.module, (-2,)), "event_shape must be"),
  "event_float": ((FLOW.module, (2.5,)), r"event_shape must be .* \(2\.5,\)"),
  "event_text": ((FLOW.module, "2"), "event_shape must be"),
  "cond_text": ((FLOW.module, (2,), "three"), "cond_shape must be"),
  "cond_inner": ((FLOW.module, (2,), {"a": 1.5}), "cond_shape must be"),
  "cond_float": ((FLOW.module, (2,), (1.5,)), "cond_shape must be"),
  "cond_negative": ((FLOW.module, (2,), {"a": (-1,)}), "cond_shape must be"),
}


@pytest.mark.parametrize("name", MAKE)
def test_make_flow(name):
  arguments, message = MAKE[name]
  with pytest.raises(ValueError, match=message):
    cinn_jax.make_flow(*arguments)


@pytest.fixture(scope="module")
def variables():
  return FLOW.init(KEY, X, COND)


CALLS = {
  "init_key": (lambda v: FLOW.init(0, X), "rng must be one JAX random key"),
  "init_x": (lambda v: FLOW.init(KEY, None), r"x of shape \[B, 2\], got None"),
  "init_text": (lambda v: FLOW.init(KEY, "x"), "x must be an array of numbers"),
  "init_rows": (lambda v: FLOW.init(KEY, X, COND[:4]), "x has 50 rows, but co"),
  "init_event": (lambda v: FLOW.init(KEY, X[0]), r"\[B, 2\], got \[2\]"),
  "init_cond": (lambda v: AWARE.init(KEY, X, X), r"cond of shape \[B, 3\]"),
  "forward_list": (lambda v: FLOW.forward(v, [1.0, 2.0]), r"got \[2\]"),
  "forward_ints": (lambda v: FLOW.forward(v, [[1, 2]], COND[:1]), "x is int"),
  "forward_none": (lambda v: FLOW.forward(v, X, None), "is given no condition"),
  "forward_rows": (
    lambda v: FLOW.forward(v, X, COND[:1]),
    "x has 50 rows, but",
  ),
  "forward_scalar": (lambda v: FLOW.forward(v, X, 1.0), "x has 50 rows, but c"),
  "forward_dict": (
    lambda v: FLOW.forward(v, X, {"a": COND, "b": COND}),
    r"is given a condition of 3 \+ 3 channels",
  ),
  "forward_width": (lambda v: FLOW.forward(v, X, X), "a condition of 2 chan"),
  "forward_refuses": (lambda v: FLOW.forward(v, Refuses()), "x cannot be read"),
  "log_prob_vars": (lambda v: FLOW.log_prob(None, X), "variables must be what"),
  "log_prob_params": (
    lambda v: FLOW.log_prob(v["params"], X, COND),
    "variables must be what init or fit returned, with an entry 'params'",
  ),
  "log_prob_empty": (lambda v: FLOW.log_prob({}, X), "variables do not fit"),
  "log_prob_leaf": (
    lambda v: FLOW.log_prob({"params": {"a": "b"}}, X),
    r"variables\['params'\]\['a'\] must be an array, got str",
  ),
  "log_prob_other": (
    lambda v: cinn_jax.make_flow(vector_flow(3), (3,)).log_prob(
      v, np.ones((2, 3), np.float32), COND[:2]
    ),
    "variables do not fit|is given",
  ),
  "inverse_none": (
    lambda v: FLOW.inverse(v, None, COND),
    "takes latents of sh",
  ),
  "inverse_empty": (
    lambda v: FLOW.inverse(v, (), COND),
    "takes latents of sha",
  ),
  "inverse_shape": (
    lambda v: FLOW.inverse(v, COND, COND),
    r"takes latents of shape \[B, 2\], got \[B, 3\]",
  ),
  "inverse_tuple": (
    lambda v: FLOW.inverse(v, (X, X), COND),
    "takes latents of",
  ),
  "inverse_rows": (lambda v: FLOW.inverse(v, X, COND[:4]), "condition's batch"),
  "inverse_text": (lambda v: FLOW.inverse(v, "z", COND), "z must be an array"),
  "sample_key": (lambda v: FLOW.sample(v, 3, COND), "rng must be one JAX rand"),
  "sample_keys": (
    lambda v: FLOW.sample(v, jax.random.split(KEY), COND),
    r"got keys of shape \[2\]",
  ),
  "sample_swapped": (lambda v: FLOW.sample(KEY, v, COND), "variables must be"),
  "sample_cond": (lambda v: FLOW.sample(v, KEY, None), "given no condition"),
  "sample_text": (lambda v: FLOW.sample(v, KEY, "c"), "cond must be an array"),
  "sample_scalar": (lambda v: FLOW.sample(v, KEY, 1.0), "cond must have a row"),
  "sample_count": (
    lambda v: FLOW.sample(v, KEY, COND, 2.5),
    "num_samples must be a whole number above 0, got 2.5",
  ),
  "sample_traced": (
    lambda v: jax.jit(FLOW.sample)(v, KEY, COND, num_samples=8),
    "num_samples must be known when JAX compiles: pass static_argnames='num_sa",
  ),
  "sample_single": (
    lambda v: FLOW.sample(v, KEY, COND[0]),
    r"got shape \(3,\): pass cond\[None\] for a single one, cond\[:, None\]",
  ),
  "sample_zero": (
    lambda v: FLOW.sample(v, KEY, COND, num_samples=0),
    "num_samples must be a whole number above 0, got 0",
  ),
  "sample_levels": (
    lambda v: FLOW.sample(v, KEY, COND, temperature=[1.0, 2.0]),
    r"temperature is one number or 1, .* got shape \[2\]",
  ),
  "sample_hot": (
    lambda v: FLOW.sample(v, KEY, COND, temperature="hot"),
    "temperature must be an array of numbers, got str",
  ),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_a_flow(variables, name):
  call, message = CALLS[name]
  with pytest.raises(ValueError, match=message):
    call(variables)


def test_plain_integers_are_shapes_of_conditions():
  flow = cinn_jax.make_flow(FLOW.module, (2,), cond_shape={"a": 1, "b": (2,)})
  assert flow.cond_shape == {"a": (1,), "b": (2,)}


def test_a_flow_without_a_condition_needs_none():
  flow = cinn_jax.make_flow(vector_flow(2, blocks=1), (2,))
  variables = flow.init(KEY, X)
  x, log_prob = flow.sample(variables, KEY, num_samples=3)
  assert x.shape == (1, 3, 2) and log_prob.shape == (1, 3)
  assert flow.latent_shapes(variables).shape == (1, 2)


def test_lists_and_tensors_are_accepted(variables):
  class Tensor:
    def __array__(self, dtype=None, copy=None):
      return X

  expected = FLOW.log_prob(variables, X, COND).total
  for x in (X.tolist(), Tensor()):
    total = FLOW.log_prob(variables, x, COND.tolist()).total
    np.testing.assert_allclose(total, expected, rtol=1e-5)
