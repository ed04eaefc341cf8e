"""`Flow` outside of `jax.jit`, where it compiles itself, and its pickles."""

import copy
import functools
import inspect
import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import Flow, make_flow, vector_flow
from cinn_jax import bijections as bj
from cinn_jax.models import BUILDERS
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.models.networks.summary_nets import SetNet
from tests.models.test_settings import SMALL
from tests.support.drawing import normal

RUNS: list[str] = []


class Noted(bj.Bijection):
  """A shift that notes each run of its Python code, which tracing does."""

  @nn.compact
  def __call__(self, x, cond=None, sign=1):
    RUNS.append("run")
    shift = self.param("shift", nn.initializers.normal(), (1,))
    log_det = jnp.zeros(len(x))
    return x + sign * shift[None], log_det

  def forward(self, x, cond=None):
    return self(x, cond)

  def inverse(self, z, cond=None):
    return self(z, cond, -1)


@pytest.fixture
def flow():
  made = make_flow(Noted(), (3,))
  variables = made.init(jax.random.key(0), np.zeros((1, 3), np.float32))
  RUNS.clear()
  return made, variables


X = normal(0, (4, 3), np.float32)


def _runs(call, arguments):
  """Returns how often the module's Python code ran in several calls."""
  RUNS.clear()
  for argument in arguments:
    call(argument)
  return len(RUNS)


def test_calls_compile_once(flow):
  flow, variables = flow
  keys = [jax.random.key(seed) for seed in range(5)]
  for call in (
    lambda key: flow.init(key, X),
    lambda _: flow.forward(variables, X),
    lambda _: flow.inverse(variables, X),
    lambda _: flow.log_prob(variables, X),
    lambda _: flow.log_prob(variables, x=X, cond=None),
  ):
    call(keys[0])
    assert _runs(call, keys) == 0

  def draw(temperature):
    return flow.sample(variables, keys[0], None, 2, temperature)

  draw(1.0)
  assert _runs(draw, [0.5, 0.25, 0.0]) == 0
  x, _ = flow.sample(variables, keys[0], None, np.int64(3))
  assert x.shape == (1, 3, 3)
  with pytest.raises(ValueError, match=r"whole number above 0, got 2\.5"):
    flow.sample(variables, keys[0], None, num_samples=2.5)


def test_gradients_and_maps_compile_once(flow):
  flow, variables = flow

  def loss(x):
    return flow.log_prob(variables, x).total.sum()

  for call in (
    jax.grad(loss),
    jax.vmap(lambda x: flow.inverse(variables, x[None])[0]),
    lambda x: jax.jvp(loss, (x,), (x,)),
  ):
    call(X)
    assert _runs(call, [X, X + 1, X + 2]) == 0


def test_traces_hold_no_nested_compilation(flow):
  flow, variables = flow

  plain = inspect.unwrap(flow.forward)
  expected = str(jax.make_jaxpr(plain)(variables, X))
  flow.forward(variables, X)  # compiled, which the next line must not use
  assert str(jax.make_jaxpr(flow.forward)(variables, X)) == expected
  gradient = [
    str(jax.make_jaxpr(jax.grad(lambda v, f=f: f(v, X)[0].sum()))(variables))
    for f in (plain, flow.forward)
  ]
  assert gradient[0] == gradient[1]


def test_runs_uncompiled_with_disable_jit(flow):
  flow, variables = flow
  with jax.disable_jit():
    assert _runs(lambda _: flow.forward(variables, X), range(3)) == 3


def test_results_are_those_of_jit():
  flow = make_flow(
    vector_flow(3, blocks=2, hidden=(4,), coupling="affine"), (3,)
  )
  cond, key = X[:, :2], jax.random.key(0)
  variables = flow.init(key, X, cond)
  for function, *arguments in (
    (flow.init, key, X, cond),
    (flow.forward, variables, X, cond),
    (flow.inverse, variables, X, cond),
    (flow.log_prob, variables, X, cond),
    (flow.sample, variables, key, cond),
  ):
    jax.tree.map(
      np.testing.assert_array_equal,
      function(*arguments),
      jax.jit(function)(*arguments),
    )


def test_data_outside_of_bounds_raise_in_every_call():
  flow = make_flow(bj.Chain((bj.Bounded(0.0, 1.0), bj.ActNorm())), (3,))
  inside = jax.nn.sigmoid(X)
  variables = flow.init(jax.random.key(0), inside)
  for function in (flow.forward, flow.log_prob):
    for _ in range(2):
      function(variables, inside)
      for wrong in (X, inside.at[0].set(1.0), inside.at[1, 2].set(np.nan)):
        with pytest.raises(ValueError, match="on or outside its bounds"):
          function(variables, wrong)
  # There are no values to check in a trace.
  total = jax.jit(flow.log_prob)(variables, X).total
  assert not np.isfinite(total).all()
  jax.grad(lambda x: flow.log_prob(variables, x).total.sum())(jnp.asarray(X))


def test_non_finite_results_of_other_flows_compile_once(flow):
  flow, variables = flow
  nan = np.full((2, 3), np.nan, np.float32)
  flow.log_prob(variables, nan)
  assert _runs(lambda x: flow.log_prob(variables, x), [nan, nan]) == 0


def _again(flow):
  return pickle.loads(pickle.dumps(flow))


def _jaxpr(flow, cond):
  x = jnp.ones((2, *flow.event_shape))
  abstract = jax.eval_shape(flow.init, jax.random.key(0), x, cond)
  return str(jax.make_jaxpr(flow.log_prob)(abstract, x, cond))


@pytest.mark.parametrize("name", ["dual_glow", "dense_cinn", "color_mnist"])
def test_models_can_be_pickled(name):
  small = SMALL[name]
  flow = make_flow(BUILDERS[name](**small.settings), small.x, small.cond)
  cond = jnp.ones((2, *small.cond))
  again = _again(flow)
  assert _jaxpr(again, cond) == _jaxpr(flow, cond)
  init, forward, *_ = again
  assert (again.event_shape, again.cond_shape) == (small.x, small.cond)
  assert isinstance(again, Flow)
  assert init is again.init and forward is again.forward


def test_flows_of_users_can_be_pickled():
  net = functools.partial(Subnet, (4,), (1, 1), activation=jax.nn.silu)
  parts = (Noted(), bj.AffineCoupling(net))
  module = vector_flow(4, blocks=2, coupling="affine", condition_net=SetNet())
  for flow, cond in (
    (make_flow(bj.Chain(parts), (4,)), None),
    (make_flow(module, (4,)), jnp.ones((2, 5, 3))),
  ):
    again = _again(flow)
    assert again.cond_shape is None
    assert _jaxpr(again, cond) == _jaxpr(flow, cond)
  assert copy.deepcopy(flow).event_shape == (4,)


def test_functions_of_users_stay_theirs(flow):
  own = Flow(*([len] * 6), module=None, event_shape=(3,))
  assert _again(own) == own
  # One replaced function is not silently that of the module again.
  with pytest.raises((AttributeError, pickle.PicklingError)):
    pickle.dumps(flow[0]._replace(sample=len))
