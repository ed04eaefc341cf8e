"""Wrong calls of `fit`: ValueError in one sentence that names the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cinn_jax
from cinn_jax.flow import Objective
from cinn_jax.models.vector_flow import vector_flow
from tests.support.small_flow import COND, FLOW, KEY, Refuses, X

QUICK = {"num_epochs": 1, "progress": False}


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
    (
      FLOW._replace(objective=Objective("a regression", None)),
      KEY,
      "this is a regression: train it with --mode=train",
    ),
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


def test_tensors_lists_and_results_are_accepted():
  class Tensor:
    def __array__(self, dtype=None, copy=None):
      return X

  result = cinn_jax.fit(FLOW, KEY, Tensor(), COND.tolist(), **QUICK)
  assert FLOW.log_prob(result, X, COND).total.shape == (50,)
  samples, _ = FLOW.sample(result, KEY, COND[:2], num_samples=np.int64(3))
  assert samples.shape == (2, 3, 2)


def test_numpy_scalars_are_options():
  options = {"num_epochs": np.int64(1), "batch_size": np.int32(20)}
  options["learning_rate"] = np.float32(1e-3)
  history = cinn_jax.fit(FLOW, KEY, X, COND, progress=False, **options).history
  assert len(history.train_log_prob) == 1
