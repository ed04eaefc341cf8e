"""Classifiers of grey pictures: how they train, and one that judges."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

STEPS, BATCH, RATE = 1_500, 128, 1e-3
_CHUNK = 512


class GreyNet(nn.Module):
  """Two 3x3 convolutions with pooling and two dense layers."""

  num_classes: int

  @nn.compact
  def __call__(self, grey):
    """[B, S, S, 1] in [0, 1] to logits [B, num_classes]."""
    hidden = grey
    for channels in (32, 64):
      hidden = nn.relu(nn.Conv(channels, (3, 3))(hidden))
      hidden = nn.max_pool(hidden, (2, 2), (2, 2))
    hidden = hidden.reshape(hidden.shape[0], -1)
    hidden = nn.relu(nn.Dense(128)(hidden))
    return nn.Dense(self.num_classes)(hidden)


def train_classifier(grey, labels, num_classes, *, seed=0):
  """Trains a `GreyNet`; the same arguments give the same one.

  Args:
    grey: uint8 [N, S, S].
    labels: int [N].

  Returns:
    `classify(grey uint8 [M, S, S]) -> int [M]`.
  """
  net = GreyNet(num_classes)

  def logits(params, pictures, rng=None):
    del rng  # Nothing is left to chance.
    return net.apply(params, _to_input(pictures))

  params = fit_logits(
    logits,
    jax.jit(net.init)(jax.random.key(seed), _to_input(grey[:1])),
    optax.adam(optax.cosine_decay_schedule(RATE, STEPS)),
    *(grey, labels),
    steps=STEPS,
    batch_size=BATCH,
    seed=seed,
  )
  return make_classify(logits, params)


def fit_logits(
  logits, params, optimizer, pictures, labels, *, steps, batch_size, seed
):
  """Descends the cross-entropy of a classifier on shuffled epochs.

  Args:
    logits: `(params, pictures [B, ...], rng) -> [B, classes]`; the rng is for
      what training leaves to chance, such as dropout.
    params: where it starts. They are donated.
    optimizer: an optax transformation.
    pictures: numpy [N, ...], whatever `logits` takes.
    labels: int [N].
    steps, batch_size, seed: of the training; the same ones give the same
      classifier.

  Returns:
    The trained params.
  """

  def loss(params, rng, chosen, wanted):
    found = logits(params, chosen, rng)
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(found, wanted)
    )

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params, state, k, chosen, wanted):
    rng = jax.random.fold_in(jax.random.key(seed), k)
    gradient = jax.grad(loss)(params, rng, chosen, wanted)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state

  state = jax.jit(optimizer.init)(params)
  batches = _batches(len(pictures), steps, batch_size, seed)
  bar = tqdm(batches, total=steps, unit="step", desc="classifier")
  for k, chosen in enumerate(bar):
    params, state = step(params, state, k, pictures[chosen], labels[chosen])
  return params


def make_classify(logits, params):
  """`classify(pictures [M, ...]) -> int [M]` of a trained classifier."""
  apply = jax.jit(lambda x: jnp.argmax(logits(params, x), -1))

  def classify(pictures):
    parts = np.array_split(pictures, -(-len(pictures) // _CHUNK))
    return np.concatenate([np.asarray(apply(part)) for part in parts])

  return classify


def _to_input(grey):
  return jnp.asarray(grey, jnp.float32)[..., None] / 255


def _batches(count, steps, batch_size, seed):
  """Indices of so many batches, from shuffled epochs."""
  generator = np.random.default_rng(seed)
  order = np.zeros(0, int)
  for _ in range(steps):
    while len(order) < batch_size:
      order = np.concatenate([order, generator.permutation(count)])
    chosen, order = np.split(order, [batch_size])
    yield chosen
