"""Wrong calls of `make_flow`, `fit` and a flow's functions.

Each raises ValueError in one sentence that names the argument.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax.models.vector_flow import vector_flow

FLOW = cinn_jax.make_flow(vector_flow(2, blocks=1, hidden=(4,)), (2,))
AWARE = cinn_jax.make_flow(FLOW.module, (2,), cond_shape=(3,))
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(50, 2)).astype(np.float32)
COND = RANDOM.normal(size=(50, 3)).astype(np.float32)
KEY = jax.random.key(0)
QUICK = {"num_epochs": 1, "progress": False}


class Refuses:
  """As a tensor that lives on another device."""

  def __array__(self, *args, **kwargs):
    raise TypeError("can't convert cuda tensor to numpy")


def _with(array, row, value):
  changed = np.array(array)
  changed[row] = value
  return changed


def simulate(rng, batch_size):
  x = jax.random.normal(rng, (batch_size, 2))
  return x, x


def _endless(*batches):
  while True:
    yield from batches


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
  "cond_float": ((FLOW.module, (2,), (1.5,)), "cond_shape must be"),
  "cond_negative": ((FLOW.module, (2,), {"a": (-1,)}), "cond_shape must be"),
}


@pytest.mark.parametrize("name", MAKE)
def test_make_flow(name):
  arguments, message = MAKE[name]
  with pytest.raises(ValueError, match=message):
    cinn_jax.make_flow(*arguments)


# Arguments after the flow and the key, keywords, and the message.
DATA = {
  "shape": ((X[:, :1],), r"x of shape \[N, 2\], got \[50, 1\]"),
  "one_row": ((X[0],), r"x of shape \[N, 2\], got \[2\]"),
  "number": ((1.0,), r"x of shape \[N, 2\], got \[\]"),
  "none": ((None,), "x must be an array of numbers, got NoneType"),
  "text": (("data.npy",), "x must be an array of numbers"),
  "texts": (([["a", "b"]] * 9,), "x must be an array of numbers"),
  "ragged": (([[1.0, 2.0], [3.0]],), "x cannot be read as an array"),
  "dict": (({"x": X},), "x must be an array of numbers, got dict"),
  "set": (({1.0, 2.0},), "x must be an array of numbers, got set"),
  "refuses": ((Refuses(),), "x cannot be read as an array .*cuda"),
  "integers": ((X.astype(int),), "x is int64, .* continuous"),
  "complex": ((X.astype(complex),), "x is complex128, .* continuous"),
  "empty": ((X[:0],), "x has no rows"),
  "empty_list": (([],), r"x of shape \[N, 2\], got \[0\]"),
  "single": ((X[:1],), "x has 1 rows, of which 1 would be held out"),
  "nan": ((_with(X, 7, np.nan),), "x is not finite in 1 of 50 rows, .* at 7"),
  "all_nan": ((X * np.nan,), "x is not finite in 50 of 50 rows"),
  "constant": ((_with(X, slice(None), 1.0),), r"x\[:, 0\] is constant"),
  "huge": ((X.astype(float) * 1e200,), "beyond the range of float32"),
  "rows": ((X, COND[:49]), r"x has 50 rows, but cond .* \[49, 3\]"),
  "scalar_cond": ((X, {"a": 1.0}), r"50 rows, but cond\['a'\] .* \[\]"),
  "cond_text": ((X, {"a": "b"}), r"cond\['a'\] must be an array of numbers"),
  "cond_object": ((X, object()), "cond must be an array of numbers"),
  "cond_refuses": ((X, [Refuses()]), r"cond\[0\] cannot be read .*cuda"),
  "cond_empty": ((X, COND[:, :0]), r"cond is empty: its shape is \[50, 0\]"),
  "cond_complex": ((X, COND.astype(complex)), "cond is complex128"),
  "cond_vector": ((X, COND[:, 0]), r"A condition is \[B, C\]"),
  "cond_nan": (
    (X, {"a": _with(COND, 3, np.inf)}),
    r"cond\['a'\] is not finite in 1 of 50 rows, the first at 3",
  ),
  "simulator_and_cond": ((simulate, COND), "leave out fit's argument cond"),
  "simulator_of_x": ((lambda rng, n: X,), r"a pair \(x, cond\)"),
  "simulator_of_three": ((lambda rng, n: (X,) * 3,), "got tuple of 3"),
  "simulator_rows": (
    (lambda rng, n: simulate(rng, 10),),
    "The simulator's x has 10 rows in place of 256",
  ),
  "simulator_shape": (
    (lambda rng, n: (jax.random.normal(rng, (n, 3)), None),),
    r"The simulator's x of shape \[N, 2\], got \[256, 3\]",
  ),
  "simulator_frozen": (
    (lambda rng, n: (np.ones((n, 2), np.float32), None),),
    "returns the same x for every key",
  ),
  "simulator_nan": (
    (lambda rng, n: (jnp.log(jax.random.normal(rng, (n, 2))), None),),
    "The simulator's x is not finite in",
  ),
  "iterator_ends": ((iter([(X, COND)]),), "iterator of minibatches ended"),
  "iterator_of_x": ((_endless(X),), r"a pair \(x, cond\)"),
  "iterator_sizes": (
    (_endless((X, COND), (X[:9], COND[:9])),),
    "minibatches must all have the same size",
  ),
  "iterator_conds": (
    (_endless((X, COND), (X, None)),),
    "conditions must all have the same structure",
  ),
  "iterator_nan": ((_endless((X * np.nan, COND)),), "Minibatch 0: x is not fi"),
  "masked": (
    (np.ma.masked_less(X, -2),),
    "x is not finite in 2 of 50 rows",
  ),
  "simulator_arguments": (
    (lambda rng: None,),
    r"called as simulate\(rng, batch_size\)",
  ),
  "list_unlike": (
    ([(X, COND), (X, None)],),
    "minibatches of x do not fit each other",
  ),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_data_of_fit(name):
  arguments, message = DATA[name]
  with pytest.raises(ValueError, match=message):
    cinn_jax.fit(FLOW, KEY, *arguments, **QUICK)


OPTIONS = {
  "num_epochs": [(0, "at least 1, got 0"), (2.5, "whole number, got 2.5")],
  "steps_per_epoch": [(-1, "at least 1"), ("9", "whole number, got '9'")],
  "batch_size": [(0, "at least 1"), (None, "whole number, got None")],
  "patience": [(0, "at least 1, got 0")],
  "learning_rate": [
    ("fast", "must be a number, got str"),
    (float("nan"), "must be a finite number"),
    (-1.0, "must be a finite number"),
  ],
  "schedule": [("sudden", "Unknown schedule")],
  "clip_norm": [(-1, "0 or above"), (None, "must be a number")],
  "optimizer": [("adam", "must be an optax optimizer .* got str")],
  "validation_fraction": [
    (0.0, "between 0 and 1, got 0.0"),
    (1, "between 0 and 1"),
    (0.999, "of which 50 would be held out"),
    ("half", "must be a number, got str"),
  ],
  "standardize": [("no", "must be True or False, got 'no'")],
  "invalid": [("drop", "must be 'raise' or 'skip', got 'drop'")],
  "variables": [
    (3, "must be a flow's variables"),
    ({"a": X}, "must be a flow's variables"),
    (
      {"params": {}},
      "variables do not fit this flow and data: params.* is mis",
    ),
    (
      cinn_jax.make_flow(vector_flow(2, blocks=2, hidden=(4,)), (2,)).init(
        KEY, X, COND
      ),
      r"variables do not fit .* is \[2.*, expected \[1",
    ),
  ],
  "validation": [
    (X, "validation is a pair"),
    ((X[:, :1], COND), "validation's x of shape"),
    ((X, COND[:9]), "validation's x has 50 rows, but validation's cond"),
    ((X * np.nan, COND), "validation's x is not finite in 50"),
    ((X, None), r"validation's cond has shape None, but cond has \(50, 3\)"),
    ((X, X), r"validation's cond has shape \(50, 2\), but cond has"),
  ],
  "weights": [
    (np.ones(9), r"weights must have shape \[50\]"),
    (-np.ones(50), "must be finite and not negative, but 50"),
    (np.full(50, np.nan), "must be finite"),
    (np.zeros(50), "above 0 in at least two rows"),
    (["a"] * 50, "weights must be an array of numbers"),
  ],
}


@pytest.mark.parametrize(
  "name, value, message",
  [(name, *case) for name, cases in OPTIONS.items() for case in cases],
)
def test_options_of_fit(name, value, message):
  with pytest.raises(ValueError, match=message):
    cinn_jax.fit(FLOW, KEY, X, COND, **{**QUICK, name: value})


@pytest.mark.parametrize(
  "flow, rng, message",
  [
    (FLOW.module, KEY, "flow must come from make_flow, got ConditionalFlow"),
    (None, KEY, "flow must come from make_flow"),
    (FLOW, 0, "rng must be one JAX random key .* got int"),
    (FLOW, None, "rng must be one JAX random key"),
    (FLOW, jax.random.split(KEY), r"got keys of shape \[2\]"),
    (FLOW, np.random.default_rng(0), "rng must be one JAX random key"),
  ],
)
def test_flow_and_key_of_fit(flow, rng, message):
  with pytest.raises(ValueError, match=message):
    cinn_jax.fit(flow, rng, X, COND, **QUICK)


def test_weights_are_for_arrays():
  with pytest.raises(ValueError, match="weights are for arrays"):
    cinn_jax.fit(FLOW, KEY, simulate, weights=np.ones(9), **QUICK)


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


def test_lists_results_and_tensors_are_accepted(variables):
  class Tensor:
    def __array__(self, dtype=None, copy=None):
      return X

  expected = FLOW.log_prob(variables, X, COND).total
  for x in (X.tolist(), Tensor()):
    total = FLOW.log_prob(variables, x, COND.tolist()).total
    np.testing.assert_allclose(total, expected, rtol=1e-5)
  result = cinn_jax.fit(FLOW, KEY, Tensor(), COND.tolist(), **QUICK)
  assert FLOW.log_prob(result, X, COND).total.shape == (50,)
  samples, _ = FLOW.sample(result, KEY, COND[:2], num_samples=np.int64(3))
  assert samples.shape == (2, 3, 2)


def test_numpy_scalars_are_options():
  options = {"num_epochs": np.int64(1), "batch_size": np.int32(20)}
  options["learning_rate"] = np.float32(1e-3)
  history = cinn_jax.fit(FLOW, KEY, X, COND, progress=False, **options).history
  assert len(history.train_log_prob) == 1
