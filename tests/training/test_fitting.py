"""`fit` returns its history and the best variables and refuses bad input."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax.training.optimizer import make_optimizer
from tests.support.linear_gaussian import (
  FLOW,
  MATRIX,
  NOISE,
  draw_data,
)

QUICK = {"progress": False, "num_epochs": 3}


def _key(seed):
  return jax.random.key(seed)


@pytest.fixture(scope="module")
def data():
  return draw_data()


def test_history_and_early_stopping(data):
  # With a large learning rate the last epoch is not the best.
  _, history = cinn_jax.fit(
    FLOW,
    _key(1),
    *(leaf[:300] for leaf in data),
    num_epochs=40,
    batch_size=30,
    learning_rate=0.03,
    schedule="constant",
    patience=3,
    progress=False,
  )
  validation = history.validation_log_prob
  assert history.best_epoch == np.argmax(validation)
  # It stopped three epochs after the best one, before the end.
  assert len(validation) == history.best_epoch + 4 < 40
  assert len(history.train_log_prob) == len(validation)
  assert history.dims == 2
  np.testing.assert_allclose(
    history.validation_bits_per_dim, -validation / (2 * np.log(2)), rtol=1e-6
  )
  np.testing.assert_allclose(
    history.train_bits_per_dim,
    -history.train_log_prob / (2 * np.log(2)),
    rtol=1e-6,
  )


def _recorded_batches(data):
  """Returns every batch of x that `fit` passes to a flow."""
  batches = []

  class Spy(bj.Bijection):
    def setup(self):
      self.shift = self.param("shift", lambda _: jnp.zeros(()))

    def forward(self, x, cond=None):
      jax.debug.callback(lambda x: batches.append(np.asarray(x)), x)
      return x - self.shift, jnp.zeros(len(x))

  flow = cinn_jax.make_flow(Spy(), (2,))
  options = {"validation_fraction": 0.1, "standardize": False, **QUICK}
  cinn_jax.fit(flow, _key(5), data, batch_size=8, **options)
  jax.effects_barrier()
  return batches


def test_never_trains_on_held_out_rows():
  x = np.arange(100, dtype=np.float32).reshape(50, 2)
  rows = [batch[:, 0] for batch in _recorded_batches(x)]
  # Some rows to initialise; then in each of three epochs five batches of 8 rows
  # and a validation of 5.
  first, *rows = rows
  assert [len(r) for r in rows] == 3 * ([8] * 5 + [5])
  held_out = {tuple(sorted(r)) for r in rows if len(r) == 5}
  assert len(held_out) == 1
  held_out = set(held_out.pop())
  training = [r for r in rows if len(r) == 8]
  assert not held_out & set(np.concatenate([first, *training]))
  epochs = [np.concatenate(training[5 * k : 5 * k + 5]) for k in range(3)]
  for epoch in epochs:
    assert len(set(epoch)) == 40  # each row at most once
  assert np.any(epochs[0] != epochs[1])


def test_returns_the_best_variables(data):
  # All rows are equal, so the held-out rows are known.
  x, cond = (leaf[:40] for leaf in data)
  variables, history = cinn_jax.fit(
    FLOW,
    _key(2),
    np.repeat(x[:1], 40, 0),
    np.repeat(cond[:1], 40, 0),
    num_epochs=8,
    # An epoch is one step; the last one spoils all parameters.
    optimizer=optax.adam(lambda step: jnp.where(step < 7, 1e-2, 0.3)),
    standardize=False,
    progress=False,
  )
  score = FLOW.log_prob(variables, x[:1], cond[:1]).total[0]
  validation = history.validation_log_prob
  np.testing.assert_allclose(score, validation.max(), rtol=1e-4)
  assert validation.max() > validation[-1] + 1e-3


def _leaves(fitted):
  return jax.tree.leaves(fitted.variables)


@pytest.mark.slow
def test_result_depends_on_the_key(data):
  first, again, other = (
    cinn_jax.fit(FLOW, _key(seed), *data, **QUICK) for seed in (1, 1, 2)
  )
  for a, b in zip(_leaves(first), _leaves(again), strict=True):
    np.testing.assert_array_equal(a, b)
  differ = zip(_leaves(first), _leaves(other), strict=True)
  assert any(np.any(a != b) for a, b in differ)


def test_pytree_conditions_and_own_optimizer(data, capsys):
  theta, x = data
  cond = {"measured": (x[:, :1], x[:, 1:])}
  still = cinn_jax.fit(
    FLOW, _key(1), theta, cond, optimizer=optax.sgd(0.0), **QUICK
  )
  validation = still.history.validation_log_prob
  np.testing.assert_array_equal(validation, validation[0])
  moved = cinn_jax.fit(FLOW, _key(1), theta, cond, **QUICK)
  assert moved.history.validation_log_prob[-1] > validation[0] + 0.1
  # Without a bar, nothing is printed.
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
  "schedule", ["cosine", pytest.param("constant", marks=pytest.mark.slow)]
)
def test_arguments_configure_adam(data, schedule):
  arguments = {
    "learning_rate": 0.01,
    "schedule": schedule,
    "clip_norm": 0.05,
    "weight_decay": 0.0,
  }
  theta, x = (leaf[:1000] for leaf in data)
  fit = functools.partial(
    cinn_jax.fit, FLOW, _key(1), theta, x, batch_size=100, **QUICK
  )
  by_name = fit(**arguments)
  # Three epochs of 900 rows.
  by_hand = fit(optimizer=make_optimizer(num_steps=27, **arguments))
  for a, b in zip(_leaves(by_name), _leaves(by_hand), strict=True):
    np.testing.assert_array_equal(a, b)
  unclipped = fit(**{**arguments, "clip_norm": 0.0})
  assert (
    unclipped.history.train_log_prob[0] != by_name.history.train_log_prob[0]
  )


def test_iterator_of_minibatches():
  def batches(random):
    while True:
      theta = random.normal(size=(64, 2))
      yield theta, theta @ MATRIX.T + NOISE * random.normal(size=(64, 3))

  _, history = cinn_jax.fit(
    FLOW,
    _key(1),
    batches(np.random.default_rng(0)),
    steps_per_epoch=40,
    **QUICK,
  )
  assert history.validation_log_prob[-1] > history.validation_log_prob[0]
  with pytest.raises(ValueError, match=r"iterator of minibatches ended"):
    few = itertools.islice(batches(np.random.default_rng(0)), 20)
    cinn_jax.fit(FLOW, _key(1), few, steps_per_epoch=30, **QUICK)


def test_iterator_with_unequal_sizes_raises():
  x = np.zeros((64, 2), np.float32), np.zeros((64, 3), np.float32)
  sizes = itertools.cycle([64, 64, 30])
  batches = (tuple(part[:size] for part in x) for size in sizes)
  with pytest.raises(ValueError, match=r"\[30, 2\] and \[64, 2\]: leave out"):
    cinn_jax.fit(FLOW, _key(1), batches, steps_per_epoch=30, **QUICK)


def test_images_and_running_statistics():
  class Centre(bj.Bijection):
    """Subtracts a running mean of the data."""

    def setup(self):
      self.mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(()))
      self.scale = self.param("scale", lambda _: jnp.zeros(()))

    def forward(self, x, cond=None):
      if self.is_mutable_collection("batch_stats"):
        self.mean.value = 0.9 * self.mean.value + 0.1 * jnp.mean(x)
      z = (x - self.mean.value) * jnp.exp(self.scale)
      return z, self.scale * jnp.full(len(x), x[0].size)

  flow = cinn_jax.make_flow(Centre(), (3, 2, 1))
  x = 2 + np.random.default_rng(0).normal(size=(200, 3, 2, 1))
  variables, _ = cinn_jax.fit(
    flow,
    _key(0),
    x,
    batch_size=20,
    validation_fraction=0.1,
    standardize=False,
    **QUICK,
  )
  # The initialisation and 27 steps each closed a tenth of the gap.
  mean = float(variables["batch_stats"]["mean"])
  assert abs(mean - 2 * (1 - 0.9**28)) < 0.1


def test_progress_bar_shows_the_validation(data, capsys):
  cinn_jax.fit(FLOW, _key(0), *data, num_epochs=3)
  assert "3/3" in capsys.readouterr().err


def test_importing_the_module_keeps_the_function():
  import cinn_jax.training.fitting

  assert cinn_jax.fit is cinn_jax.training.fitting.fit
  assert "fit" in dir(cinn_jax)
