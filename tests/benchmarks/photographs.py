"""Measures the colorization of photographs from the command line.

  launch/local.sh python tests/benchmarks/photographs.py [--json=FILE]

Runs `--mode=sample` with the weights of the package, on a photograph from
scikit-learn, in a process of its own:

  cold      with an empty compilation cache. Goal: 30 seconds
  warm      with the cache that it left. Goal: 10 seconds
  previews  eight further previews: the time for two photographs minus the time
            for one. Goal: 1.5 seconds
  large     a photograph of 20 megapixels, with eight results, and the same with
            the laptop network. Goal: at most twice its time and memory
  flicker   frames of a camera that pans over a photograph, all with the latents
            of one seed: mean |d ab| between neighbouring frames at the places
            that both show, in Lab units; and between two samples of one frame

Seconds are given by the clock, and for all cores together.
"""

import argparse
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import machine
import numpy as np
import sklearn.datasets
from PIL import Image

from cinn_jax.images import color

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Pixels from one frame to the next, and the side of a frame.
_PAN, _FRAME = 16, 384


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--frames", type=int, default=8)
  parser.add_argument("--laptop", help="a workdir of configs/colorize.py")
  parser.add_argument("--json", help="also write the results to this file")
  flags = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    results = measure(pathlib.Path(name), flags.frames, flags.laptop)
  lines = [
    [kind, *(f"{value:.4g}" for value in values.values())]
    for kind, values in results.items()
    if kind != "flicker"
  ]
  print(machine.table(["", "seconds", "processor", "peak GB"], lines))
  for kind, value in results["flicker"].items():
    print(f"{kind}: {value:.2f}")
  machine.finish(results, machine.facts("jax", "jaxlib"), flags.json)


def measure(folder: pathlib.Path, frames: int, laptop: str | None) -> dict:
  """Returns seconds and memory by kind, and the flicker."""
  photo = Image.fromarray(sklearn.datasets.load_sample_image("china.jpg"))
  other = Image.fromarray(sklearn.datasets.load_sample_image("flower.jpg"))
  one, two = folder / "one", folder / "two"
  _save(one, {"a": photo})
  _save(two, {"a": photo, "b": other})
  results = {
    kind: _run(folder, one, kind) for kind in ("cold", "warm", "warm again")
  }
  alone = _run(folder, one, "preview", "--preview")
  both = _run(folder, two, "previews", "--preview")
  results["8 previews"] = {k: both[k] - alone[k] for k in alone}
  scale = (20e6 / (photo.width * photo.height)) ** 0.5
  large = photo.resize([round(scale * side) for side in photo.size])
  _save(folder / "large", {"a": large})
  results["20 megapixels"] = _run(folder, folder / "large", "large")
  if laptop:
    network = f"--workdir={laptop}"
    _run(folder, folder / "one", "laptop", network=network)
    results["the same, laptop"] = _run(
      folder, folder / "large", "laptop large", network=network
    )
  results["flicker"] = flicker(folder, photo, frames)
  return results


def flicker(
  folder: pathlib.Path, photo: Image.Image, frames: int
) -> dict[str, float]:
  """Returns the mean |d ab| between neighbours, and between samples."""
  boxes = [(k * _PAN, 0, k * _PAN + _FRAME, _FRAME) for k in range(frames)]
  pan = {f"{k:03d}": photo.crop(box) for k, box in enumerate(boxes)}
  _save(folder / "pan", pan)
  samples = []
  for seed in (0, 1):
    # Of one sample, so that no order of likelihood changes its number.
    kind = f"frames {seed}"
    _run(folder, folder / "pan", kind, "--num_samples=1", f"--seed={seed}")
    samples.append([_ab(folder / f"out {kind}" / f"{n}_1.png") for n in pan])
  neighbours = [
    np.abs(a[:, _PAN:] - b[:, :-_PAN]).mean()
    for frames_of_sample in samples
    for a, b in itertools.pairwise(frames_of_sample)
  ]
  pairs = [np.abs(a - b).mean() for a, b in zip(*samples, strict=True)]
  return {
    "mean |d ab| between frames": float(np.mean(neighbours)),
    "mean |d ab| between samples": float(np.mean(pairs)),
  }


def _ab(path):
  pixels = np.asarray(Image.open(path).convert("RGB"))
  return np.asarray(color.srgb_to_lab(color.from_uint8(pixels)))[..., 1:]


def _save(folder, pictures):
  folder.mkdir()
  for name, picture in pictures.items():
    picture.save(folder / f"{name}.png")


def _run(folder, inputs, kind, *more, network=""):
  """Runs the command; returns its seconds and memory."""
  network = network or f"--config={ROOT / 'configs/colorize.py'}:photographs"
  command = [
    *(sys.executable, "-m", "cinn_jax.main", network, "--mode=sample"),
    *(f"--inputs={inputs}/*.png", f"--outputs={folder}/out {kind}"),
    *(f"--compilation_cache={folder / 'cache'}", *more),
  ]
  start = time.perf_counter()
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  process = subprocess.Popen(
    command, cwd=folder, env=environment, stdout=subprocess.DEVNULL
  )
  _, status, usage = os.wait4(process.pid, 0)
  if status:
    raise SystemExit(f"{' '.join(command)} ended with {status}.")
  return {
    "seconds": time.perf_counter() - start,
    "processor": usage.ru_utime + usage.ru_stime,
    "peak GB": usage.ru_maxrss * 1024 / 1e9,
  }


if __name__ == "__main__":
  main()
