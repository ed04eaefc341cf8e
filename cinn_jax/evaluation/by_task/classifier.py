"""Training of classifiers, and one for grey pictures that rates samples."""

import functools
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from cinn_jax.bijections.base import Array, PyTree

STEPS, BATCH, RATE = 1_500, 128, 1e-3
CHUNK = 512


class GreyNet(nn.Module):
  """Two 3x3 convolutions with pooling and two dense layers."""

  num_classes: int

  @nn.compact
  def __call__(self, grey: Array) -> Array:
    """Maps [B, S, S, 1] in [0, 1] to logits [B, num_classes]."""
    hidden = grey
    for channels in (32, 64):
      hidden = nn.relu(nn.Conv(channels, (3, 3))(hidden))
      hidden = nn.max_pool(hidden, (2, 2), (2, 2))
    hidden = hidden.reshape(hidden.shape[0], -1)
    hidden = nn.relu(nn.Dense(128)(hidden))
    return nn.Dense(self.num_classes)(hidden)


def train_classifier(
  grey: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
  """Trains a `GreyNet`; the same arguments give the same classifier.

  Args:
    grey: Pictures, uint8 [N, S, S].
    labels: Their classes, int [N].
    num_classes: Number of classes.
    seed: Seed for the parameters and the order of the pictures.

  Returns:
    `classify(grey uint8 [M, S, S]) -> int [M]`.
  """
  net = GreyNet(num_classes)

  def logits(params, pictures, rng=None):
    del rng  # This network has no randomness, such as dropout.
    return net.apply(params, _to_input(pictures))

  params = fit_logits(
    logits,
    jax.jit(net.init)(jax.random.key(seed), _to_input(grey[:1])),
    optax.adam(optax.cosine_decay_schedule(RATE, STEPS)),
    pictures=grey,
    labels=labels,
    steps=STEPS,
    batch_size=BATCH,
    seed=seed,
  )
  return make_classify(logits, params)


def fit_logits(
  logits: Callable,
  params: PyTree,
  optimizer: optax.GradientTransformation,
  pictures: np.ndarray,
  labels: np.ndarray,
  *,
  steps: int,
  batch_size: int,
  seed: int,
) -> PyTree:
  """Minimises the cross-entropy of a classifier over shuffled epochs.

  The same arguments give the same result.

  Args:
    logits: `(params, pictures [B, ...], rng) -> [B, classes]`; the rng is for
      randomness in training, such as dropout.
    params: Initial parameters, whose memory is reused.
    optimizer: An optax transformation.
    pictures: Inputs [N, ...] for `logits`.
    labels: Classes, int [N].
    steps: Number of training steps.
    batch_size: Pictures per step.
    seed: Seed for the order of the pictures and for `rng`.

  Returns:
    The trained parameters.
  """

  def loss(params, rng, batch, classes):
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(
        logits(params, batch, rng), classes
      )
    )

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params, state, k, batch, classes):
    rng = jax.random.fold_in(jax.random.key(seed), k)
    gradient = jax.grad(loss)(params, rng, batch, classes)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state

  state = jax.jit(optimizer.init)(params)
  indices = batch_indices(len(pictures), steps, batch_size, seed)
  bar = tqdm(indices, total=steps, unit="step", desc="classifier")
  for k, index in enumerate(bar):
    params, state = step(params, state, k, pictures[index], labels[index])
  return params


def make_classify(
  logits: Callable, params: PyTree
) -> Callable[[np.ndarray], np.ndarray]:
  """Returns a classifier's `classify(pictures [M, ...]) -> int [M]`."""
  apply = jax.jit(lambda x: jnp.argmax(logits(params, x), -1))

  def classify(pictures):
    parts = np.array_split(pictures, -(-len(pictures) // CHUNK))
    return np.concatenate([np.asarray(apply(part)) for part in parts])

  return classify


def _to_input(grey):
  return jnp.asarray(grey, jnp.float32)[..., None] / 255


def batch_indices(
  count: int, steps: int, batch_size: int, seed: int
) -> Iterator[np.ndarray]:
  """Yields the indices of `steps` batches, from shuffled epochs of `count`.

  A batch may cross the border of two epochs.
  """
  generator = np.random.default_rng(seed)
  order = np.zeros(0, int)
  for _ in range(steps):
    while len(order) < batch_size:
      order = np.concatenate([order, generator.permutation(count)])
    index, order = np.split(order, [batch_size])
    yield index
