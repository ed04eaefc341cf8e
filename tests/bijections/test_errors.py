"""Wrong input raises one sentence that says what to pass."""

import functools

import jax
import jax.numpy as jnp
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from tests.support.refusing import assert_refused

CONV = functools.partial(Subnet, widths=(4,), kernels=(3, 1))
DENSE = functools.partial(Subnet, widths=(4,), kernels=(1, 1))
COUPLING = bj.AffineCoupling(CONV)
IMAGE = (2, 4, 4, 4)
LEVELS = bj.MultiScale((bj.Haar(), bj.Haar()), (bj.Split(4),))


def _array(*shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(shape, dtype)


def _labels(*shape):
  return _array(*shape, dtype=jnp.int32)


# name: (bijection, data, condition, parts of the message)
FORWARD = {
  "one_channel": (
    COUPLING,
    _array(2, 4, 4, 1),
    None,
    ["at least 2 channels", "(2, 4, 4, 1)", "squeeze the image first"],
  ),
  "condition_at_another_resolution": (
    COUPLING,
    _array(*IMAGE),
    _array(2, 8, 8, 3),
    ["(2, 8, 8, 3)", "resolution [4, 4]", "or a vector [B, C]"],
  ),
  "condition_of_another_width": (
    COUPLING,
    _array(2, 4, 6, 4),
    _array(2, 4, 8, 3),
    ["(2, 4, 8, 3)", "resolution [4, 6]"],
  ),
  "second_condition_at_another_resolution": (
    COUPLING,
    _array(*IMAGE),
    (_array(2, 4, 4, 1), _array(2, 2, 2, 3)),
    ["(2, 2, 2, 3)", "resolution [4, 4]"],
  ),
  "condition_of_another_batch": (
    COUPLING,
    _array(*IMAGE),
    _array(1, 4, 4, 3),
    ["batch is 1", "data's 2", "one condition per example", "vmap"],
  ),
  "vector_condition_of_another_batch": (
    COUPLING,
    _array(*IMAGE),
    _array(3, 5),
    ["batch is 3", "data's 2"],
  ),
  "class_labels": (
    COUPLING,
    _array(*IMAGE),
    _labels(2),
    ["[B, C] or [B, H, W, C]", "(2,)", "class labels one-hot"],
  ),
  "sides": (
    bj.AffineCoupling(CONV, sides=3),
    _array(*IMAGE),
    None,
    ["sides must be 1 or 2", "got 3"],
  ),
  "clamp": (
    bj.AffineCoupling(CONV, clamp="softsign"),
    _array(*IMAGE),
    None,
    ["'softsign'", *bj.CLAMPS],
  ),
  "kernels": (
    bj.AffineCoupling(functools.partial(CONV, kernels=(3,))),
    _array(*IMAGE),
    None,
    ["1 hidden layers", "2 kernel sizes", "[3]"],
  ),
  "squeeze_of_a_vector": (
    bj.Squeeze(),
    _array(2, 4),
    None,
    ["Squeeze", "[B, H, W, C]", "(2, 4)"],
  ),
  "squeeze_of_odd_height": (
    bj.Squeeze(),
    _array(2, 5, 4, 1),
    None,
    ["Squeeze", "must be even", "(2, 5, 4, 1)", "crop or resize"],
  ),
  "squeeze_order": (
    bj.Squeeze(order="wavelet"),
    _array(*IMAGE),
    None,
    ["'wavelet'", "position, channel"],
  ),
  "haar_of_odd_width": (
    bj.Haar(),
    _array(2, 4, 5, 1),
    None,
    ["Haar", "must be even", "(2, 4, 5, 1)", "crop or resize"],
  ),
  "haar_order": (
    bj.Haar(order="position"),
    _array(*IMAGE),
    None,
    ["'position'", "wavelet, channel"],
  ),
  "flatten_order": (
    bj.Flatten((4, 4, 4), order="wavelet"),
    _array(*IMAGE),
    None,
    ["'wavelet'", "position, channel"],
  ),
  "flatten_of_another_shape": (
    bj.Flatten((4, 4, 3)),
    _array(*IMAGE),
    None,
    ["shape (4, 4, 3)", "got (4, 4, 4)", "one image size"],
  ),
  "split_of_all_channels": (
    bj.Split(4),
    _array(*IMAGE),
    None,
    ["emits 4", "data have 4", "choose 1 to 3"],
  ),
  "split_of_nothing": (
    bj.Split(0),
    _array(*IMAGE),
    None,
    ["emits 0", "choose 1 to 3"],
  ),
  "split_side": (
    bj.Split(1, side="middle"),
    _array(*IMAGE),
    None,
    ["'first' or 'last'", "'middle'"],
  ),
  "splits_between_stages": (
    bj.MultiScale((bj.Haar(), bj.Haar()), ()),
    _array(*IMAGE),
    None,
    ["2 stages need 1 splits", "got 0"],
  ),
  "condition_without_the_key": (
    bj.Conditioned(COUPLING, "fine"),
    _array(*IMAGE),
    {"coarse": _array(2, 5)},
    ["'fine'", "['coarse']", "pass a dict or tuple that has that entry"],
  ),
  "condition_without_the_index": (
    bj.Conditioned(COUPLING, 1),
    _array(*IMAGE),
    (_array(2, 5),),
    ["entry 1", "tuple"],
  ),
  "no_condition_for_the_key": (
    bj.Conditioned(COUPLING, "fine"),
    _array(*IMAGE),
    None,
    ["'fine'", "NoneType"],
  ),
}

INVERSE = {
  "squeeze_channels": (
    bj.Squeeze(),
    _array(2, 2, 2, 6),
    ["Squeeze.inverse", "multiple of 4 channels", "(2, 2, 2, 6)"],
  ),
  "haar_channels": (
    bj.Haar(),
    _array(2, 2, 2, 6),
    ["Haar.inverse", "multiple of 4 channels", "(2, 2, 2, 6)"],
  ),
  "haar_of_a_vector": (
    bj.Haar(),
    _array(2, 8),
    ["Haar.inverse", "[B, H, W, C]", "(2, 8)"],
  ),
  "too_few_latents": (
    LEVELS,
    (_array(*IMAGE),),
    ["2 levels of latents", "got 1"],
  ),
  "too_many_latents": (
    LEVELS,
    (_array(*IMAGE),) * 3,
    ["2 levels of latents", "got 3"],
  ),
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward_raises(name):
  bijection, value, cond, parts = FORWARD[name]
  assert_refused(bijection, "forward", value, cond, parts)


@pytest.mark.parametrize("name", INVERSE)
def test_inverse_raises(name):
  bijection, value, parts = INVERSE[name]
  assert_refused(bijection, "inverse", value, None, parts)


@pytest.mark.parametrize(
  "name", ["one_channel", "condition_of_another_batch", "clamp", "class_labels"]
)
def test_coupling_inverse_raises(name):
  bijection, value, cond, parts = FORWARD[name]
  assert_refused(bijection, "inverse", value, cond, parts)


def test_vector_condition_for_an_image():
  z, log_det = jax.eval_shape(
    COUPLING.init_with_output,
    jax.random.key(0),
    _array(*IMAGE),
    _array(2, 5),
  )[0]
  assert z.shape == IMAGE
  assert log_det.shape == (2,)


def test_a_learned_prior_misses_its_condition():
  prior, x, cond = bj.LearnedPrior(), jnp.ones((2, 3)), jnp.ones((2, 5))
  variables = prior.init(jax.random.key(0), x, cond)
  with pytest.raises(ValueError, match="a condition of 5 channels, and is giv"):
    prior.apply(variables, x)
