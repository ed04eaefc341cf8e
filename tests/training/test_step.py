"""One training step: loss, average, noise and running statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.normalization import Norm
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.tasks import Task
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import MOST_SKIPPED, init_state

DIMS, NOISE, RATE = 4, 0.1, 0.1


def _task():
  """Splits vectors: x is the first part, the condition the rest."""

  def add_noise(rng, x, cond):
    return x + NOISE * jax.random.normal(rng, x.shape), cond

  return Task(
    prepare=lambda batch: jnp.split(batch["image"], [DIMS], axis=1),
    add_noise=add_noise,
    render=None,
    condition_picture=None,
    image_size=1,
    event_shape=(DIMS,),
    cond_shape=(3,),
    scales=(1.0,) * DIMS,
    description="vectors",
    condition_name="vector",
  )


@pytest.fixture(scope="module")
def setting():
  """A small flow: (flow, task, state at step 0, batch)."""
  subnet = functools.partial(Subnet, widths=(5,), kernels=(1, 1), init_std=0.5)
  coupling = bj.AffineCoupling(functools.partial(subnet, zero_last=False))
  module = ConditionalFlow(coupling, Norm("batch"))
  flow, task = make_flow(module, (DIMS,)), _task()
  key = jax.random.key(0, impl="rbg")
  state = jax.jit(lambda: init_state(key, flow, task, optax.sgd(RATE)))()
  image = np.random.default_rng(0).normal(2, 1, (6, DIMS + 3))
  return flow, task, state, {"image": jnp.asarray(image, jnp.float32)}


def _step(setting, seed=0, ema_decay=0.5):
  flow, task, state, batch = setting
  step = make_train_step(
    flow, task, optax.sgd(RATE), seed=seed, ema_decay=ema_decay
  )
  return jax.jit(step), state, batch


def _variables(state):
  return {"params": state.fit.params, **state.fit.constants}


def _noisy(setting, seed, step):
  _, task, _, batch = setting
  rng = jax.random.fold_in(jax.random.key(seed), step)
  return task.add_noise(rng, *task.prepare(batch))


def _assert_close(actual, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    actual,
    expected,
  )


def _assert_equal(actual, expected):
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_average_starts_from_the_parameters(setting):
  state = setting[2]
  assert state.step == 0 and state.step.dtype == jnp.int32
  _assert_close(state.ema, state.fit.params)
  assert set(state.fit.constants) == {"batch_stats"}
  assert set(state.ema_variables) == {"params", "batch_stats"}


def test_step_descends_mean_nats_per_dimension(setting):
  step, state, batch = _step(setting, seed=3)
  flow = setting[0]
  x, cond = _noisy(setting, seed=3, step=0)

  def loss(params):
    parts = flow.log_prob({"params": params, **state.fit.constants}, x, cond)
    return -jnp.mean(parts.total) / DIMS, parts

  differentiate = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (value, parts), gradient = differentiate(state.fit.params)
  after, metrics = step(state, batch)
  expected = jax.tree.map(lambda p, g: p - RATE * g, state.fit.params, gradient)
  _assert_close(after.fit.params, expected)
  norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradient)))
  _assert_close(metrics["grad_norm"], norm)
  bits = {
    "bits_per_dim": value / np.log(2),
    "bits_prior": -parts.prior.mean() / DIMS / np.log(2),
    "bits_log_det": -parts.log_det.mean() / DIMS / np.log(2),
  }
  _assert_close({name: metrics[name] for name in bits}, bits)
  assert after.step == 1


def test_reports_the_largest_log_scale(setting):
  step, state, batch = _step(setting)
  x, cond = _noisy(setting, seed=0, step=0)
  apply = functools.partial(setting[0].module.apply, mutable=["diagnostics"])
  _, sown = jax.jit(apply)(_variables(state), x, cond)
  [largest] = jax.tree.leaves(sown)
  _, metrics = step(state, batch)
  _assert_close(metrics["max_log_scale"], largest)
  assert largest > 0.1


def test_average_follows_quickly_at_first(setting):
  step, state, batch = _step(setting, ema_decay=0.15)
  expected = state.ema
  for decay in (0.1, 0.15, 0.15):  # 1/10; then 2/11 is above the decay
    state, _ = step(state, batch)
    expected = jax.tree.map(
      lambda e, p, d=decay: d * e + (1 - d) * p, expected, state.fit.params
    )
    _assert_close(state.ema, expected)


def test_without_an_average_parameters_replace_it(setting):
  flow, task, state, batch = setting
  state = state._replace(ema=None)
  optimizer = optax.sgd(RATE)
  step = make_train_step(flow, task, optimizer, seed=0, ema_decay=0.0)
  # Donates as a run does, which needs a buffer per array.
  donating = jax.jit(step, donate_argnums=0)
  after, _ = donating(jax.tree.map(jnp.copy, state), batch)
  after, _ = donating(after, batch)
  assert after.ema is None
  assert after.ema_variables["params"] is after.fit.params
  changed = jax.tree.map(
    lambda a, b: jnp.any(a != b), after.fit.params, state.fit.params
  )
  assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize(
  "optimizer",
  [make_optimizer(num_steps=9, learning_rate=RATE), optax.adam(RATE)],
  ids=["ours", "optax's"],
)
def test_steps_that_are_not_finite_are_skipped(setting, optimizer):
  flow, task, before, batch = setting
  step = jax.jit(make_train_step(flow, task, optimizer, seed=0, ema_decay=0.5))
  fit = before.fit._replace(optimizer=optimizer.init(before.fit.params))
  before = before._replace(fit=fit)
  before, _ = step(before, batch)
  broken = {"image": batch["image"].at[0, 0].set(jnp.nan)}

  def run(state, count):
    """Takes steps that are not finite; they change nothing but counters."""
    start = state
    for _ in range(count):
      state, metrics = step(state, broken)
      assert metrics["skipped"] == state.skipped
      _assert_equal((state.fit, state.ema), (start.fit, start.ema))
    return state

  state = run(before, MOST_SKIPPED - 1)
  assert (state.step, state.skipped) == (MOST_SKIPPED, MOST_SKIPPED - 1)
  # A finite step is taken as ever, and the row starts again.
  after, _ = step(state, batch)
  assert not after.skipped and after.step == MOST_SKIPPED + 1
  expected, _ = step(state._replace(skipped=jnp.int32(0)), batch)
  _assert_equal(after, expected)
  assert any(
    jnp.any(new != old)
    for new, old in zip(
      *(jax.tree.leaves(each.fit) for each in (after, state)), strict=True
    )
  )
  # After the last of a row nothing changes any more.
  diverged = run(after, MOST_SKIPPED)
  assert diverged.diverged and diverged.step == after.step + MOST_SKIPPED - 1
  still, metrics = step(diverged, batch)
  assert metrics["skipped"] == MOST_SKIPPED
  _assert_equal(still, diverged)


def test_updates_running_statistics(setting):
  step, state, batch = _step(setting)
  after, _ = step(state, batch)
  cond = batch["image"][:, DIMS:]
  statistics = after.fit.constants["batch_stats"]["condition_net"]
  _assert_close(statistics["mean"], 0.1 * cond.mean(0))
  _assert_close(statistics["var"], 0.9 + 0.1 * cond.var(0))
  assert jax.tree.structure(after) == jax.tree.structure(state)


def test_noise_depends_only_on_seed_and_step(setting):
  step, state, batch = _step(setting)
  _, first = step(state, batch)
  _, again = step(state, batch)
  assert first["bits_prior"] == again["bits_prior"]
  _, later = step(state._replace(step=state.step + 1), batch)
  other, *_ = _step(setting, seed=1)
  _, seeded = other(state, batch)
  bits = {float(m["bits_prior"]) for m in (first, later, seeded)}
  assert len(bits) == 3
