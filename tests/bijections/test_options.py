"""Bad options raise one sentence that says what is wrong."""

import functools

import jax
import jax.numpy as jnp
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.models.networks.token_networks import CausalTransformer
from tests.support.refusing import assert_refused

CONV = functools.partial(Subnet, widths=(4,), kernels=(3, 1))
CAUSAL = functools.partial(CausalTransformer, 4, 1, heads=2)
IMAGE = jax.ShapeDtypeStruct((2, 4, 4, 4), jnp.float32)

# name: (bijection, parts of the message)
WRONG = {
  "additive_sides": (
    bj.AdditiveCoupling(CONV, sides=0),
    ["sides must be 1 or 2", "got 0"],
  ),
  "gin_clamp": (
    bj.GINCoupling(CONV, clamp="softplus"),
    ["'softplus'", *bj.CLAMPS],
  ),
  "injector_without_condition": (
    bj.AffineInjector(CONV),
    ["AffineInjector needs a condition", "got none"],
  ),
  "spline_sides": (
    bj.SplineCoupling(CONV, sides=3),
    ["sides must be 1 or 2", "got 3"],
  ),
  "spline_bins": (
    bj.SplineCoupling(CONV, bins=1),
    ["2 bins or more", "got 1"],
  ),
  "spline_min_bin": (
    bj.SplineCoupling(CONV, min_bin=1.0),
    ["min_bin", "between 0 and 1", "got 1.0"],
  ),
  "spline_bound": (
    bj.SplineCoupling(CONV, bound=-3.0),
    ["bound must be above 0", "got -3.0"],
  ),
  "spline_affine_alpha": (
    bj.SplineCoupling(CONV, affine_alpha=0.0),
    ["affine_alpha must be above 0", "got 0.0"],
  ),
  "memory_policy": (
    bj.Stack(bj.AdditiveCoupling(CONV), 2, "forget"),
    ["'forget'", *bj.MEMORY_POLICIES],
  ),
  "reversible_memory_of_a_slow_inverse": (
    bj.Stack(
      bj.Chain((bj.AutoregressiveBlock(CAUSAL), bj.Orthogonal())),
      2,
      "reversible",
    ),
    ["'reversible' runs the inverse", "one token after the other", "remat"],
  ),
  "sampler": (
    bj.AutoregressiveBlock(CAUSAL, sampler="gibbs"),
    ["'gibbs'", "scan, jacobi, gauss_seidel"],
  ),
  "segment": (
    bj.AutoregressiveBlock(CAUSAL, sampler="gauss_seidel", segment=0),
    ["segment", "1 or more", "0"],
  ),
  "autoregressive_clamp": (
    bj.AutoregressiveBlock(CAUSAL, clamp="softplus"),
    ["'softplus'", *bj.CLAMPS],
  ),
  "heads_that_do_not_divide_the_width": (
    bj.AutoregressiveBlock(functools.partial(CausalTransformer, 4, 1, heads=3)),
    ["multiple of its 3 heads", "got 4"],
  ),
  "patches_without_pixels": (bj.Patches(0), ["at least 1 pixel", "got 0"]),
  "haar_patches_of_odd_size": (
    bj.Patches(3, "haar"),
    ["side of 2, 4, 8", "got 3"],
  ),
  "transform_of_patches": (
    bj.Patches(2, "fft"),
    ["'fft'", "dct, haar, none"],
  ),
  "householder_without_reflections": (
    bj.Householder(0),
    ["1 reflection or more", "got 0"],
  ),
  "standardize_by_other_channels": (
    bj.Standardize((0.0, 1.0, 2.0), 1.0),
    ["Standardize's mean has 3 numbers", "4 channels", "one per channel"],
  ),
  "standardize_by_zero": (
    bj.Standardize(0.0, (1.0, 0.0, 1.0, 1.0)),
    ["std must be above 0", "(1.0, 0.0, 1.0, 1.0)"],
  ),
  "standardize_by_nan": (
    bj.Standardize(float("nan"), 1.0),
    ["finite numbers", "mean nan"],
  ),
  "bounds_of_other_channels": (
    bj.Bounded(0.0, (1.0, None)),
    ["Bounded's high has 2 numbers", "4 channels", "one per channel"],
  ),
  "bounds_in_the_wrong_order": (
    bj.Bounded(1.0, 0.0),
    ["low below its high", "low 1.0, high 0.0"],
  ),
}


@pytest.mark.parametrize("method", ["forward", "inverse"])
@pytest.mark.parametrize("name", WRONG)
def test_bad_option_raises(name, method):
  bijection, parts = WRONG[name]
  assert_refused(bijection, method, IMAGE, None, parts)
