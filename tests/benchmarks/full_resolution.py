"""Measures the time, memory and quality of colours at full resolution.

  launch/local.sh python tests/benchmarks/full_resolution.py [--json=FILE]

Enlarges a photograph from scikit-learn to 20 megapixels and colorizes it 8
times. Prints the seconds by the clock, the seconds of all cores together, and
the peak memory of the process. Writing files is not measured. Goal: at most 15
seconds and 2 GB on two cores.

  launch/local.sh python tests/benchmarks/full_resolution.py --quality

Compares joint bilateral with bilinear upsampling instead. The true ab of seven
photographs is reduced with anti-aliasing, upsampled, and compared with the
original.
"""

import argparse
import time

import jax
import machine
import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image

from cinn_jax.images import bilateral, color, full_resolution


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--quality", action="store_true")
  parser.add_argument("--megapixels", type=float, default=20)
  parser.add_argument("--samples", type=int, default=8)
  parser.add_argument("--cells", type=int, default=64, help="ab per side")
  parser.add_argument("--json", help="also write the results to this file")
  flags = parser.parse_args()
  if flags.quality:
    results = {"quality": quality()}
  else:
    results = speed(flags.megapixels, flags.samples, flags.cells)
  machine.finish(results, machine.facts("jax", "numpy", "pillow"), flags.json)


def speed(megapixels, samples, cells):
  photo = sklearn.datasets.load_sample_image("china.jpg")
  enlarge = (megapixels * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
  size = [round(enlarge * side) for side in (photo.shape[1], photo.shape[0])]
  small = Image.fromarray(photo).resize((cells, cells), Image.Resampling.BOX)
  ab = color.srgb_to_lab(color.from_uint8(np.asarray(small)))[..., 1:]
  # Colours of increasing strength; the last ones are out of gamut.
  strength = np.linspace(0.5, 3, samples)[:, None, None, None]
  ab = strength * np.asarray(ab)[None]
  photo = np.asarray(Image.fromarray(photo).resize(size))
  results = {"megapixels": photo.size / 3e6, "samples": samples, "cells": cells}
  for run in ("first", "again"):
    start, worked = time.perf_counter(), time.process_time()
    full_resolution.colorize(photo, ab)
    results[f"seconds {run}"] = round(time.perf_counter() - start, 2)
    results[f"processor {run}"] = round(time.process_time() - worked, 2)
  results["peak RSS in GB"] = round(machine.peak_bytes() / 1e9, 2)
  for name, value in results.items():
    print(f"{name:18}{value:.4g}")
  return results


def quality():
  print(f"{'photograph':14}{'ratio':>5}{'bilinear':>10}{'bilateral':>10}")
  rows = []
  for ratio in (4, 16):
    for name, photo in photographs().items():
      lab = color.srgb_to_lab(color.from_uint8(photo))
      errors = upsampling_errors(lab[..., 0], lab[..., 1:], ratio)
      rows.append((name, ratio, *errors))
      print(f"{name:14}{ratio:5}{errors[0]:10.3f}{errors[1]:10.3f}")
    mean = np.mean([row[3] / row[2] for row in rows if row[1] == ratio])
    print(f"{'mean ratio':14}{ratio:5}{1:10.3f}{mean:10.3f}")
  return rows


def upsampling_errors(lightness, ab, ratio):
  """Returns the RMSE of ab, in Lab units, for both ways of upsampling.

  Returns:
    [bilinear, joint bilateral].
  """
  small = (lightness.shape[0] // ratio, lightness.shape[1] // ratio)
  low = jax.image.resize(ab, (*small, 2), "linear")
  guide = jax.image.resize(lightness, small, "linear")
  bilinear = jax.image.resize(low, ab.shape, "linear")
  joint = bilateral.upsample(low[None], guide, lightness)[0]
  return [float(np.sqrt(np.mean((ab - x) ** 2))) for x in (bilinear, joint)]


def photographs():
  """Returns photographs by name, uint8 [H, W, 3], sides divisible by 16."""
  names = ("astronaut", "coffee", "chelsea", "rocket")
  photos = {name: getattr(skimage.data, name)() for name in names}
  photos["motorcycle"] = skimage.data.stereo_motorcycle()[0]
  for name in ("china", "flower"):
    photos[name] = sklearn.datasets.load_sample_image(f"{name}.jpg")
  return {
    name: photo[: photo.shape[0] // 16 * 16, : photo.shape[1] // 16 * 16]
    for name, photo in photos.items()
  }


if __name__ == "__main__":
  main()
