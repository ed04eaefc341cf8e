"""Checks imported colorization networks against PyTorch, to 1e-4.

These tests need the extra `freia` and are skipped without it.
"""

import jax
import numpy as np
import pytest

from cinn_jax.experiment.build import build
from cinn_jax.importing.official import load_official
from cinn_jax.importing.workdir import import_official
from cinn_jax.workdir.trained import restore
from configs import colorize
from tests.support import official_colorization

torch = pytest.importorskip("torch")
pytest.importorskip("FrEIA.modules")

BATCH, WIDTH = 2, 4
LEVELS = (((4, 1), (5, 1)), ((6, 1), (7, 2)), ((3, 2),))
STAGES = (
  ((1, 2), 2, 6, 5, (3,)),
  ((4, 6, 8, 10), 8, 8, 7, (1, 3)),
  ((14, 16, 18, 20), 8, 10, 3, (1, 3)),
  ((24, 26, 28, 30), 64, 12, 9, (0,)),
)


def _lsun_config():
  """Returns configs/colorize.py:lsun, but smaller."""
  config = colorize.get_config("lsun")
  config.model.update(
    {
      "size": 16,
      "hidden": tuple(stage[2] for stage in STAGES),
      "alphas": (1.0, 1.0, 0.6, 0.6),
      "emits": (6, 4),
      "condition_levels": LEVELS,
      "condition_vector": 9,
      "condition_pool": 2,
    }
  )
  config.task.update({"image_size": 16, "ab_size": 16})
  return config


def _imagenet_config():
  """Returns configs/colorize.py:imagenet, a sixteenth as wide."""
  config = colorize.get_config("imagenet")
  config.model.update({"width": WIDTH, "norm": "batch"})
  return config


def _lsun(path):
  """Saves a random LSUN network as the authors did.

  Returns:
    (config, flow in PyTorch, condition network in PyTorch).
  """
  from tests.support import official_peers

  config = _lsun_config()
  flow, net = _seeded(lambda: official_peers.lsun(config.model, STAGES, LEVELS))
  tensors = flow.state("cinn.module_list")
  tensors |= {f"cond_net.{k}": v for k, v in net.state_dict().items()}
  _assert_layout(
    tensors, official_colorization.lsun(STAGES, LEVELS, 9, pooled=2)
  )
  torch.save({**tensors, "cinn.tmp_var_3": torch.zeros(2)}, path)
  return config, flow, net


def _imagenet(path):
  """Saves a random ImageNet network as the authors did; see `_lsun`."""
  from tests.support import imagenet_peer

  flow = _seeded(lambda: imagenet_peer.flow(WIDTH))
  features = imagenet_peer.FeatureNet(WIDTH).eval()
  head = imagenet_peer.global_head(WIDTH).eval()
  modules = [features, head, *(s.head for s in flow.steps if _has_head(s))]
  for module in modules:
    imagenet_peer.randomize_norms(module.eval())
  tensors = flow.state("module.inn.module_list")
  for name, net in (("feature_network", features), ("fc_cond_network", head)):
    for key, value in net.state_dict().items():
      tensors[f"module.{name}.{key}"] = value
  _assert_layout(tensors, official_colorization.imagenet(WIDTH))
  torch.save({"opt": {}, "opt_f": {}, "net": tensors}, path)

  def condition(cond):
    maps = features(cond * 25.6 + 47.5 - 50)
    return {"features": maps, "vector": head(maps).flatten(1)}

  condition.predict_ab = features.predict_ab
  return _imagenet_config(), flow, condition


def _seeded(make):
  """Calls `make` with a fixed seed."""
  state = np.random.get_state()
  torch.manual_seed(0)
  result = make()
  np.random.set_state(state)  # FrEIA seeds the global generator.
  return result


def _has_head(step):
  return getattr(step, "head", None) is not None


def _assert_layout(tensors, expected):
  assert {k: tuple(v.shape) for k, v in tensors.items()} == expected


NETWORKS = {"lsun": _lsun, "imagenet": _imagenet}


@pytest.fixture(scope="module", params=NETWORKS)
def official(request, tmp_path_factory):
  path = tmp_path_factory.mktemp(request.param) / "official.pt"
  config, peer, condition = NETWORKS[request.param](path)
  return path, config, peer, condition


def _normal(seed, shape):
  values = np.random.default_rng(seed).normal(size=(BATCH, *shape))
  return values.astype(np.float32)


def _to_torch(values):
  return torch.tensor(np.moveaxis(values, -1, 1).copy())


def _flat(values):
  return np.moveaxis(values, -1, 1).reshape(BATCH, -1)


def _assert_near(ours, theirs):
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_both_directions_agree_with_the_saved_network(official):
  path, config, peer, condition = official
  variables = load_official(path, config)
  flow, task = build(config)
  x, cond = _normal(0, task.event_shape), _normal(1, task.cond_shape)
  features = condition(_to_torch(cond))
  z, log_det = jax.jit(flow.forward)(variables, x, cond)
  latents, expected = peer.forward(_to_torch(x), features)
  for ours, theirs in zip(z, latents, strict=True):
    _assert_near(_flat(ours), theirs)
  _assert_near(log_det, expected)
  noise = [_normal(2 + k, level.shape[1:]) for k, level in enumerate(z)]
  sample, log_det = jax.jit(flow.inverse)(variables, tuple(noise), cond)
  theirs, expected = peer.inverse(
    [torch.tensor(_flat(level)) for level in noise], features
  )
  _assert_near(_flat(sample), theirs.flatten(1))
  _assert_near(log_det, expected)
  # Far from the identity, so that the condition and every level matter.
  assert np.abs(log_det).min() > 1 and np.abs(x - sample).max() > 1


@torch.no_grad()
def test_features_agree_with_the_saved_network(official):
  path, config, _, condition = official
  net = build(config)[0].module.condition_net
  variables = load_official(path, config)
  own = {
    collection: tree["condition_net"]
    for collection, tree in variables.items()
    if "condition_net" in tree
  }
  cond = _normal(1, build(config)[1].cond_shape)
  features = jax.jit(net.apply)(own, cond)
  expected = condition(_to_torch(cond))
  assert features.keys() == expected.keys()
  for name, theirs in expected.items():
    _assert_near(_flat(features[name]), theirs.flatten(1))
  if hasattr(condition, "predict_ab"):
    ours = net.apply(own, cond, method="predict_ab")
    theirs = condition.predict_ab(expected["features"])
    _assert_near(_flat(ours), theirs.flatten(1))


@pytest.mark.parametrize("official", ["imagenet"], indirect=True)
def test_workdir_has_the_running_statistics(official, tmp_path):
  path, config, _, _ = official
  import_official(path, config, tmp_path / "run")
  restored = restore(tmp_path / "run")
  expected = load_official(path, config)
  assert "batch_stats" in expected
  jax.tree.map(np.testing.assert_array_equal, restored.variables, expected)
