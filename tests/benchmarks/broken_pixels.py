"""Counts broken pixels in samples of briefly trained pair flows.

  python tests/benchmarks/broken_pixels.py --data=PHOTOS.zip \\
    [--task=colorize_rgb] [--model=dual_glow_plus] [--far=0,3] [--steps=400] \\
    [--sheets=FOLDER]

Trains networks of `pair_comparison.py` (about 6 million parameters, 64x64,
photographs of rooms) for a few steps, and draws eight samples for each of 80
test photographs. A pixel is broken if a channel differs by more than 100 of 255
levels from the median of the 3x3 pixels around it. Prints their share, the
share of samples with more than half a per cent of them, and the share in the
photographs themselves, at three temperatures.
"""

import argparse
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import pair_models
import pair_pictures
from PIL import Image
from scipy.ndimage import median_filter

from cinn_jax.experiment.build import build
from cinn_jax.sampling import draw
from cinn_jax.training import phases
from cinn_jax.training.optimizer import make_optimizer
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import init_state

TEMPERATURES = (0.5, 0.8, 1.0)
# Levels of 255 from the median of the neighbours.
FAR_OFF = 100
# Share of broken pixels with which a sample counts as broken.
MANY = 0.005
_PICTURES, _BATCH, _SAMPLES, _CHUNK, _SHOWN = 80, 20, 8, 25, 4


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", required=True, help="a zip of photographs")
  parser.add_argument("--task", default="colorize_rgb")
  parser.add_argument("--model", default="dual_glow_plus")
  parser.add_argument("--far", default="0,3")
  parser.add_argument("--alpha", type=float, help="bound of log-scales")
  parser.add_argument("--steps", type=int, default=400)
  parser.add_argument("--sheets", help="a folder for samples")
  flags = parser.parse_args()
  # Accelerators would round the inputs of products to fewer bits.
  jax.config.update("jax_default_matmul_precision", "highest")
  train, test, _ = pair_pictures.read(flags.data, "rooms", pair_models.SIZE)
  truth = broken(test.images[:_PICTURES])
  print(f"photographs: {100 * np.mean(truth):.3f} % of pixels", flush=True)
  for far in map(float, flags.far.split(",")):
    _measure(far, train.images, test.images, flags)


def broken(pictures: np.ndarray) -> np.ndarray:
  """Returns the share of broken pixels in pictures [B, H, W, 3] of bytes."""
  levels = np.asarray(pictures, np.int16)
  medians = median_filter(levels, size=(1, 3, 3, 1))
  return (np.abs(levels - medians).max(-1) > FAR_OFF).mean((1, 2))


def _measure(far, train, test, flags):
  name = f"{flags.task}, {flags.model}, far={far:g}"
  config = pair_models.make_config(
    flags.task, flags.model, steps=flags.steps, batch_size=8
  )
  config.model.far = far
  if flags.alpha is not None:
    config.model.alpha = config.model.latent_alpha = flags.alpha
    name += f", alpha={flags.alpha:g}"
  flow, task = build(config)
  variables = _train(name, flow, task, config, train)
  sampler = jax.jit(draw.make_sampler(flow, task, num_samples=_SAMPLES))
  rows = []
  for temperature in TEMPERATURES:
    parts = [
      np.asarray(
        sampler(
          variables,
          jax.random.key(first),
          {"image": test[first : first + _BATCH]},
          jnp.float32(temperature),
        )[1]
      )
      for first in range(0, _PICTURES, _BATCH)
    ]
    rows += [np.concatenate(list(each), 1) for each in parts[0][:_SHOWN]]
    samples = np.concatenate(parts)
    shares = broken(samples.reshape(-1, *samples.shape[2:]))
    print(
      f"{name}, temperature {temperature:g}: {100 * shares.mean():.3f} % of"
      f" pixels; {100 * np.mean(shares > MANY):.1f} % of samples",
      flush=True,
    )
  if flags.sheets:
    folder = pathlib.Path(flags.sheets)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(folder / f"{name}.png")


def _train(name, flow, task, config, pictures):
  """Returns the variables after training; prints the last bits/dim."""
  settings = config.train
  optimizer = make_optimizer(
    num_steps=settings.num_steps, **phases.optimizer_options(config)
  )
  order = pair_pictures.batches(
    len(pictures), settings.num_steps, settings.batch_size, 0
  )
  first = pictures[order.reshape(-1)[: settings.init_batch_size]]
  state = jax.jit(
    lambda rng, batch: init_state(
      rng,
      flow,
      task,
      optimizer,
      batch,
      averaged=False,
      batch_size=settings.batch_size,
    )
  )(jax.random.key(0), {"image": first})
  step = make_train_step(flow, task, optimizer, seed=0, ema_decay=0.0)
  chunk = jax.jit(
    lambda state, images: jax.lax.scan(
      lambda state, image: step(state, {"image": image}), state, images
    ),
    donate_argnums=0,
  )
  start = time.perf_counter()
  for rows in np.split(order, settings.num_steps // _CHUNK):
    state, metrics = chunk(state, pictures[rows])
  print(
    f"{name}: {np.mean(metrics['bits_per_dim']) + 8:.3f} bits/dim after"
    f" {settings.num_steps} steps, {time.perf_counter() - start:.0f} s",
    flush=True,
  )
  return state.fit.variables


if __name__ == "__main__":
  main()
