"""Parameter counts, latents and cost of the published networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.experiment.build import abstract_variables, build, build_model
from cinn_jax.experiment.describe import describe
from cinn_jax.runtime import cpu_convolution
from cinn_jax.runtime.flops import flops
from configs import colorize, mnist, sketch, super_resolution

LATENTS = {
  "lsun": [(32, 32, 6), (16, 16, 4), (1024,)],
  "imagenet": [(16, 16, 16), (8, 8, 32), (4, 4, 96), (512,)],
}


def _abstract(variant, configs=colorize):
  config = configs.get_config(variant)
  flow, task = build(config)
  return flow, task, abstract_variables(flow, task)


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  "variant, total", [("lsun", 11_010_760), ("imagenet", 88_949_693)]
)
def test_parameter_count(variant, total):
  _, _, variables = _abstract(variant)
  assert _count(variables["params"]) == total


@pytest.mark.slow
@pytest.mark.parametrize(
  "configs, variant, total",
  [
    (super_resolution, "caflow,size=64", 35_229_968),
    (sketch, "caflow,size=64", 27_397_040),
    (super_resolution, "dual_glow_plus,size=64", 14_500_400),
    (super_resolution, "dual_glow,size=64", 6_226_110),
    (super_resolution, "pyramid", 6_628_173),
    (super_resolution, "esrgan,size=64", 19_462_212),
  ],
)
def test_parameter_counts_of_the_readme(configs, variant, total):
  assert _count(_abstract(variant, configs)[2]["params"]) == total


@pytest.mark.parametrize(
  "variant, depth, block",
  [
    ("minimal", 20, 1_217_056),
    ("fashion", 20, 1_217_056),
    ("paper", 24, 2_267_680),
  ],
)
def test_mnist_parameter_count(variant, depth, block):
  flow, _, variables = _abstract(variant, mnist)
  totals = {"minimal": 24_341_120, "fashion": 24_341_120, "paper": 54_424_320}
  assert _count(variables["params"]) == totals[variant]
  # Only subnets are trained; each block has a constant permutation.
  blocks = variables["params"]["bijection"]["parts_1"]["block"].values()
  assert [_count(b) for b in blocks] == depth * [block]
  assert _count(variables["constants"]) == depth * 784
  assert flow.latent_shapes(variables, jnp.zeros((1, 10))).shape == (1, 784)


def test_imagenet_parameter_count_by_part():
  params = _abstract("imagenet")[2]["params"]["condition_net"]
  feature_net = _count(params["feature_net"]) + _count(params["classifier"])
  assert feature_net == 32_236_013
  assert _count(params["global_head"]) == 2_361_472


@pytest.mark.parametrize("variant", sorted(LATENTS))
def test_latents_per_level(variant):
  flow, task, variables = _abstract(variant)
  cond = jax.ShapeDtypeStruct((1, *task.cond_shape), jnp.float32)
  shapes = [z.shape[1:] for z in flow.latent_shapes(variables, cond)]
  assert shapes == LATENTS[variant]
  assert sum(map(np.prod, shapes)) == np.prod(task.event_shape)


def test_batch_norm_has_as_many_parameters():
  model = build_model("imagenet_colorization", norm="batch")
  x = jax.ShapeDtypeStruct((1, 64, 64, 2), jnp.float32)
  cond = jax.ShapeDtypeStruct((1, 256, 256, 1), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), x, cond)
  assert _count(variables["params"]) == 88_949_693
  assert _count(variables["batch_stats"]) > 0


@pytest.mark.slow
def test_description_counts_parameters_and_flops():
  text = describe(colorize.get_config("lsun"))
  assert "11,010,760" in text
  assert "level 1 [16, 16, 4]" in text
  text = describe(mnist.get_config("paper"))
  assert "54,424,320" in text and "level 0 [784]" in text


def test_flops_of_matrix_products():
  a, b = jnp.ones((3, 4)), jnp.ones((4, 5))
  assert flops(lambda a, b: a @ b, a, b) == 2 * 3 * 4 * 5
  loop = lambda a, b: jax.lax.scan(lambda c, _: (c, a @ b), 0, length=7)  # noqa: E731
  assert flops(loop, a, b) == 7 * 2 * 3 * 4 * 5


@pytest.mark.parametrize(
  "convolve",
  [cpu_convolution.conv_general_dilated, jax.lax.conv_general_dilated],
)
def test_flops_of_a_convolution(convolve):
  x, weights = jnp.ones((2, 8, 6, 3)), jnp.ones((3, 3, 3, 5))
  options = {
    "window_strides": (2, 2),
    "padding": ((1, 1), (1, 1)),
    "dimension_numbers": cpu_convolution.LAYOUT_NUMBERS,
  }
  counted = flops(functools.partial(convolve, **options), x, weights)
  assert counted == 2 * (2 * 4 * 3 * 5) * (3 * 3 * 3)


def test_flops_of_the_published_condition_network():
  net = build_model("haar_colorization").condition_net
  cond = jax.ShapeDtypeStruct((1, 64, 64, 1), jnp.float32)
  variables = jax.eval_shape(net.init, jax.random.key(0), cond)
  at_64 = 64**2 * 9 * (1 * 64 + 64 * 64 + 64 * 128)
  at_32 = 32**2 * 9 * 128 * 128
  at_16 = 16**2 * 9 * 128 * 128
  products = at_64 + at_32 + at_16 + 2048 * 512
  assert flops(net.apply, variables, cond) == 2 * products


def test_samples_share_the_conditions_part():
  flow, task, variables = _abstract("lsun")
  cond = jax.ShapeDtypeStruct((1, *task.cond_shape), jnp.float32)
  one, eight = (
    flops(
      functools.partial(flow.sample, num_samples=samples),
      variables,
      jax.random.key(0),
      cond,
    )
    for samples in (1, 8)
  )
  assert one < eight < 1.4 * one


@pytest.mark.parametrize(
  "variant, order, flatten, slope",
  [("lsun", "channel", "channel", 0.01), ("laptop", "wavelet", "position", 0)],
)
def test_orders_and_slope_by_variant(variant, order, flatten, slope):
  # Of the published network, and of the one whose results we measured.
  model = build(colorize.get_config(variant))[0].module
  first, second, last = model.bijection.stages
  assert first.parts[1].order == second.parts[0].order == order
  assert last.parts[0].order == flatten
  assert model.condition_net.negative_slope == slope


@pytest.mark.parametrize(
  "options, message",
  [
    ({"depths": (2, 5, 4, 4)}, r"are even, .* got \[2, 5, 4, 4\]"),
    ({"mixing": "shuffle"}, "there are permutation, orthogonal"),
  ],
)
def test_bad_options_raise(options, message):
  with pytest.raises(ValueError, match=message):
    build_model("haar_colorization", **options)


def test_unknown_model_raises():
  with pytest.raises(ValueError, match="there are"):
    build_model("nonesuch")
