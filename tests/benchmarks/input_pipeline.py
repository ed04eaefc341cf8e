"""Measures how many images per second the input pipeline delivers.

  launch/local.sh python tests/benchmarks/input_pipeline.py [--json=FILE]

Writes a folder of 200x200 JPEGs, prepares it and times training batches of
64x64 crops. Goal: 1,000 images/s on two cores.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

import machine
import numpy as np
from PIL import Image

from cinn_jax.data import loader, photos, sources

PACKAGES = ("grain", "numpy", "pillow", "array_record")


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument("--images", type=int, default=2000)
  parser.add_argument("--batches", type=int, default=100)
  parser.add_argument("--batch_size", type=int, default=64)
  flags = parser.parse_args()
  with tempfile.TemporaryDirectory() as place:
    results = measure(pathlib.Path(place), flags)
  report(results)
  machine.finish(results, machine.facts(*PACKAGES), flags.json)


def measure(place, flags) -> dict:
  """Returns the results by name; the names contain the units."""
  folder = place / "photos"
  mean_size = write_photos(folder, flags.images)
  results = {"jpeg_bytes": mean_size}
  begin = time.perf_counter()
  source = sources.open_source(
    "folder", "train", path=folder, cache=place / "c"
  )
  results["prepare_images_per_second"] = flags.images / elapsed(begin)
  begin = time.perf_counter()
  sources.open_source("folder", "train", path=folder, cache=place / "c")
  results["reopen_seconds"] = elapsed(begin)
  for step in (0, 1_000_000):
    begin = time.perf_counter()
    batches = open_batches(source, flags.batch_size, step)
    next(batches)
    results[f"first_batch_seconds_at_step_{step}"] = elapsed(begin)
  for threads in (1, 2, 0):
    key = f"{threads}_threads" if threads else "default_threads"
    results[f"images_per_second_{key}"] = rate(source, flags, threads)
  return results


def rate(source, flags, num_threads) -> float:
  """Returns images per second: the median of three rounds after a warm-up."""
  batches = open_batches(source, flags.batch_size, 0, num_threads)
  for _ in range(10):
    next(batches)
  rounds = []
  for _ in range(3):
    begin = time.perf_counter()
    for _ in range(flags.batches):
      next(batches)
    rounds.append(flags.batches * flags.batch_size / elapsed(begin))
  batches.close()
  return statistics.median(rounds)


def open_batches(source, batch_size, start_step, num_threads=0):
  return loader.training_batches(
    source,
    image_size=64,
    batch_size=batch_size,
    seed=0,
    start_step=start_step,
    num_threads=num_threads,
  )


def write_photos(folder, count) -> float:
  """Writes 200x200 crops of photographs; returns the mean size in bytes."""
  folder.mkdir()
  generator = np.random.default_rng(0)
  names, total = sorted(photos.REGIONS), 0
  for i in range(count):
    photo = photos.load(names[i % len(names)])
    top = generator.integers(photo.shape[0] - 200)
    left = generator.integers(photo.shape[1] - 200)
    file = folder / f"{i:05d}.jpg"
    patch = Image.fromarray(photo[top : top + 200, left : left + 200])
    patch.save(file, quality=90)
    total += file.stat().st_size
  return total / count


def elapsed(begin) -> float:
  return time.perf_counter() - begin


def report(results):
  print(
    f"200x200 JPEGs of {results['jpeg_bytes'] / 1000:.1f} kB, crops of 64x64"
  )
  for name, value in results.items():
    if isinstance(value, float) and name != "jpeg_bytes":
      print(f"{name.replace('_', ' '):36}{value:12,.2f}")


if __name__ == "__main__":
  main()
