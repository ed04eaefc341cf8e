"""A small classifier of grey pictures, to judge drawn ones by."""

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
  optimizer = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

  @jax.jit
  def init():
    params = net.init(jax.random.key(seed), _to_input(grey[:1]))
    return params, optimizer.init(params)

  def loss(params, pictures, wanted):
    logits = net.apply(params, _to_input(pictures))
    return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(logits, wanted)
    )

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(params, state, pictures, wanted):
    gradient = jax.grad(loss)(params, pictures, wanted)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state

  params, state = init()
  batches = _batches(len(grey), seed)
  for chosen in tqdm(batches, total=STEPS, unit="step", desc="classifier"):
    params, state = step(params, state, grey[chosen], labels[chosen])
  apply = jax.jit(lambda x: jnp.argmax(net.apply(params, _to_input(x)), -1))

  def classify(pictures):
    parts = np.array_split(pictures, -(-len(pictures) // _CHUNK))
    return np.concatenate([np.asarray(apply(part)) for part in parts])

  return classify


def _to_input(grey):
  return jnp.asarray(grey, jnp.float32)[..., None] / 255


def _batches(count, seed):
  """Indices of `STEPS` batches, from shuffled epochs."""
  generator = np.random.default_rng(seed)
  order = np.zeros(0, int)
  for _ in range(STEPS):
    while len(order) < BATCH:
      order = np.concatenate([order, generator.permutation(count)])
    chosen, order = np.split(order, [BATCH])
    yield chosen
