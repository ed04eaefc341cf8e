"""The cINN for coloured digits: its size, its condition and its inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import make_flow
from cinn_jax.experiment.build import abstract_variables, build, build_model
from cinn_jax.experiment.describe import describe
from cinn_jax.models.color_mnist import DigitClassifier
from cinn_jax.runtime.flops import flops
from configs import color_mnist
from tests.support.drawing import draw_like, draw_variables, normal

SIZE = 6
SMALL = {
  "size": SIZE,
  "conv_depth": 2,
  "conv_hidden": 5,
  "depth": 2,
  "hidden": (7, 7),
  "convolutions": ((3,),),
  "classifier_hidden": (6,),
  "features": 4,
}
X = normal(0, (3, SIZE, SIZE, 3), np.float32)
COND = np.abs(normal(1, (3, SIZE, SIZE, 1), np.float32))


@pytest.fixture(scope="module")
def small():
  """A small flow, and variables that are all random."""
  model = build_model("color_mnist", **SMALL)
  variables = draw_variables(model, 2, X, COND, scale=0.2)
  constants = dict(variables["constants"])
  constants["condition_net"] = draw_like(
    constants["condition_net"], 5, np.float32, scale=0.3
  )
  return make_flow(model, X.shape[1:]), {**variables, "constants": constants}


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _published():
  config = color_mnist.get_config()
  flow, task = build(config)
  return flow, abstract_variables(flow, task)


def test_published_parameter_counts():
  flow, variables = _published()
  parts = variables["params"]["bijection"]
  assert _count(parts["parts_0"]) == 79_932
  assert _count(parts["parts_2"]) == 13_601_952
  # Nothing else is trained; the classifier's parameters are constants.
  assert _count(variables["params"]) == 79_932 + 13_601_952
  constants = variables["constants"]
  assert _count(constants["condition_net"]["classifier"]) == 913_610
  assert _count(constants["bijection"]) == 3 * 3 + 7 * 2352
  cond = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
  assert flow.latent_shapes(variables, cond).shape == (1, 2352)


def test_published_activation_and_clamp():
  conv, _, dense = _published()[0].module.bijection.parts
  for stack, depth in ((conv, 3), (dense.bijection, 7)):
    coupling = stack.block.parts[1]
    assert stack.depth == depth
    assert (coupling.alpha, coupling.clamp) == (1.9, "cinn_code")
    activation = coupling.subnet().activation
    assert [float(activation(v)) for v in (-1.0, 2.0)] == pytest.approx(
      [-0.01, 2.0]
    )


def test_description_has_the_published_counts():
  text = describe(color_mnist.get_config())
  for count in ("79,932", "13,601,952", "13,681,884", "913,610"):
    assert f" {count}\n" in text


def test_samples_share_the_conditions_part():
  flow, variables = _published()
  cond = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))

  def cost(n):
    return flops(
      lambda v, k, c: flow.sample(v, k, c, num_samples=n), variables, key, cond
    )

  # The data's part alone: 3 blocks of 2 subnets per pixel, 7 blocks per image.
  widths = [(2, 2), (1, 4)]
  pixel = sum(i * 64 + (i + 64) * 64 + (i + 128) * out for i, out in widths)
  image = 2 * (1176 * 256 + 256 * 256 + 256 * 2352)
  each = 2 * (784 * 3 * pixel + 7 * image)
  assert cost(5) - cost(1) == 4 * each
  # The 64 features enter 3 blocks once per image, not once per pixel.
  features = 2 * 3 * 64 * (2 * 128 + 2 + 4)
  picture = 2 * 3 * 784 * (2 * 128 + 2 + 4)
  classifier = flops(
    DigitClassifier().apply,
    {"params": variables["constants"]["condition_net"]["classifier"]},
    cond,
  )
  assert cost(1) == each + features + picture + classifier


def test_round_trip(small):
  flow, variables = small
  z, log_det = jax.jit(flow.forward)(variables, X, COND)
  back, minus_log_det = jax.jit(flow.inverse)(variables, z, COND)
  assert z.shape == (3, 3 * SIZE**2)
  assert np.abs(log_det).min() > 1
  np.testing.assert_allclose(back, X, atol=1e-4)
  np.testing.assert_allclose(minus_log_det, -log_det, rtol=1e-4)


def test_log_det_matches_the_jacobian(small):
  flow, variables = small

  def one(x):
    return flow.forward(variables, x[None], COND[:1])[0][0]

  jacobian = jax.jit(jax.jacfwd(one))(X[0]).reshape(3 * SIZE**2, -1)
  _, log_det = jax.jit(flow.forward)(variables, X[:1], COND[:1])
  expected = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
  np.testing.assert_allclose(log_det[0], expected, rtol=1e-4, atol=1e-3)


def test_picture_and_features_both_matter(small):
  flow, variables = small
  z, _ = jax.jit(flow.forward)(variables, X, COND)
  bijection = flow.module.bijection
  features = flow.module.apply(variables, COND, method="features")
  assert features["features"].shape == (3, 4)
  np.testing.assert_array_equal(features["picture"], COND)
  inner = {k: v["bijection"] for k, v in variables.items()}

  @jax.jit
  def encode(features):
    return bijection.apply(inner, X, features, method="forward")[0]

  for name, entry in features.items():
    other = {**features, name: jnp.flip(entry, axis=0)}
    assert np.abs(encode(other) - z).max() > 1e-2


@pytest.mark.slow
def test_starts_as_a_permutation():
  model = build_model("color_mnist", **SMALL)
  variables = jax.jit(model.init)(jax.random.key(0, impl="rbg"), X, COND)
  z, log_det = jax.jit(model.apply)(variables, X, COND)
  np.testing.assert_array_equal(
    np.sort(z, axis=1), np.sort(X.reshape(3, -1), axis=1)
  )
  assert np.all(log_det == 0)
  params = variables["params"]["bijection"]["parts_0"]["block"]["parts_1"]
  first = params["net_1"]["layer_1_condition_0"]["kernel"]
  assert np.std(first) == pytest.approx(0.03, rel=0.25)


def test_dropout_is_only_for_training_the_classifier(small):
  flow, variables = small
  net = flow.module.condition_net.classifier()
  params = {"params": variables["constants"]["condition_net"]["classifier"]}
  features, logits = net.apply(params, COND)
  assert features.shape == (3, 4) and logits.shape == (3, 10)
  used = flow.module.apply(variables, COND, method="features")["features"]
  np.testing.assert_allclose(used, features, rtol=1e-5)
  dropped, _ = net.apply(
    params, COND, deterministic=False, rngs={"dropout": jax.random.key(0)}
  )
  assert np.abs(dropped - features).max() > 1e-2


def test_pooling_is_the_only_nonlinearity():
  net = DigitClassifier(((3,), (2,)), (5,), features=4)
  # Pooling does not change constant pictures; the rest is affine.
  grey = jnp.asarray([0.0, 1.0, 2.0, -3.0])[:, None, None, None]
  grey = jnp.broadcast_to(grey, (4, 12, 12, 1))
  params = jax.jit(net.init)(jax.random.key(0, impl="rbg"), grey)
  _, logits = net.apply(params, grey)
  zero, one, two, minus_three = logits
  np.testing.assert_allclose(two - zero, 2 * (one - zero), atol=1e-5)
  np.testing.assert_allclose(minus_three - zero, -3 * (one - zero), atol=1e-5)


def test_too_small_pictures_raise():
  model = build_model("color_mnist", **{**SMALL, "convolutions": ((3,) * 3,)})
  with pytest.raises(ValueError, match="6 pixels are too few for the groups"):
    jax.eval_shape(model.init, jax.random.key(0), X, COND)


def test_unknown_variant_raises():
  with pytest.raises(ValueError, match="'fashion'; there are mnist, digits"):
    color_mnist.get_config("fashion")
