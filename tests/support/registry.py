"""All bijections by name; a line added here runs all tests of the contract."""

import functools
from typing import NamedTuple

import flax.linen as nn

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.models.networks.token_networks import (
  CausalTransformer,
  TransformerSubnet,
)

_CONV = functools.partial(Subnet, widths=(6,), kernels=(3, 1))
_DENSE = functools.partial(Subnet, widths=(8, 8), kernels=(1, 1, 1))
_TRANSFORMER = functools.partial(TransformerSubnet, 8, 2, heads=2)
_CAUSAL = functools.partial(CausalTransformer, 8, 2, heads=2)
_MAP, _VECTOR = (4, 4, 3), (5,)


class Case(NamedTuple):
  bijection: bj.Bijection
  shape: tuple[int, ...]  # of one example
  cond: object = None  # a pytree of shapes of one example


def _step(**options):
  return bj.Chain((bj.AffineCoupling(_CONV, **options), bj.Orthogonal()))


def two_levels(memory="store"):
  """Returns a multi-scale flow with all kinds of parts."""
  fine = bj.Chain((bj.Haar(), bj.Stack(_step(), 2, memory)))
  dense = bj.Chain(
    (
      bj.Flatten((2, 2, 2)),
      bj.Stack(
        bj.Chain((bj.AffineCoupling(_DENSE), bj.Permutation())), 2, memory
      ),
    )
  )
  return bj.MultiScale(
    stages=(
      bj.Conditioned(fine, "fine"),
      bj.Conditioned(dense, "coarse", head=Head()),
    ),
    splits=(bj.Split(6),),
  )


class Head(Subnet):
  """A head for a condition: a network with one argument."""

  widths: tuple[int, ...] = (4,)
  kernels: tuple[int, ...] = (1, 1)

  def __call__(self, cond):
    return super().__call__(cond, None, 3)


def _fractions():
  coupling = bj.SplineCoupling(_CONV, bins=4, bound=0.5)
  steps = bj.Stack(bj.Chain((bj.Permutation(), coupling)), 2)
  return bj.Chain((bj.Squeeze(), steps, bj.Inverse(bj.Squeeze())))


# Few distinct shapes, because compilation takes most of the tests' time.
CASES = {
  "coupling": Case(bj.AffineCoupling(_CONV), (4, 4, 4), _MAP),
  "coupling_dense": Case(bj.AffineCoupling(_DENSE), (7,), _VECTOR),
  "coupling_odd": Case(bj.AffineCoupling(_CONV), (4, 4, 3), _MAP),
  "coupling_vector_on_image": Case(
    bj.AffineCoupling(_CONV), (4, 4, 4), _VECTOR
  ),
  "coupling_vector_on_sequence": Case(
    bj.AffineCoupling(_DENSE), (2, 4), _VECTOR
  ),
  "coupling_two_conditions": Case(
    bj.AffineCoupling(_CONV), (4, 4, 4), (_MAP, _VECTOR)
  ),
  "coupling_one_sided": Case(
    bj.AffineCoupling(_CONV, sides=1, alpha=1.0), (4, 4, 3), _MAP
  ),
  "coupling_cinn_code": Case(
    bj.AffineCoupling(_DENSE, clamp="cinn_code", alpha=0.6), (7,), _VECTOR
  ),
  "coupling_freia_2021": Case(
    bj.AffineCoupling(_DENSE, clamp="freia_2021", alpha=2.0), (7,), _VECTOR
  ),
  "coupling_sigmoid": Case(
    bj.AffineCoupling(_DENSE, sides=1, clamp="sigmoid", alpha=9.21),
    (7,),
    _VECTOR,
  ),
  "coupling_checkerboard": Case(
    bj.CheckerboardCoupling(_CONV), (4, 4, 3), _MAP
  ),
  "coupling_checkerboard_odd": Case(
    bj.CheckerboardCoupling(_CONV, parity=1), (3, 5, 1), _VECTOR
  ),
  "coupling_additive": Case(bj.AdditiveCoupling(_CONV), (4, 4, 4), _MAP),
  "coupling_real_nvp": Case(bj.RealNVPCoupling(_DENSE, sides=1), (7,), _VECTOR),
  "coupling_gin": Case(bj.GINCoupling(_CONV), (4, 4, 4), _MAP),
  "coupling_contracting": Case(
    bj.AffineCoupling(_DENSE, clamp="contracting", alpha=0.7), (7,), _VECTOR
  ),
  "coupling_tanh": Case(
    bj.AffineCoupling(_DENSE, clamp="tanh", alpha=1.5), (7,), _VECTOR
  ),
  "coupling_jet": Case(
    bj.AffineCoupling(_DENSE, sides=1, clamp="jet", alpha=9.2), (7,), _VECTOR
  ),
  "coupling_transformer": Case(
    bj.AffineCoupling(_TRANSFORMER, sides=1, clamp="tanh"),
    (2, 3, 4),
    ((2, 3, 5), _VECTOR),
  ),
  "coupling_spatial": Case(
    bj.SpatialCoupling(_TRANSFORMER, clamp="tanh"),
    (2, 4, 3),
    ((2, 4, 5), _VECTOR),
  ),
  "coupling_spatial_rows": Case(
    bj.SpatialCoupling(_DENSE, pattern="rows_odd"), (4, 2, 1), (4, 2, 3)
  ),
  "autoregressive": Case(
    bj.AutoregressiveBlock(_CAUSAL), (2, 3, 2), ((2, 3, 5), _VECTOR)
  ),
  "autoregressive_reverse": Case(
    bj.AutoregressiveBlock(_CAUSAL, alpha=1.0, reverse=True), (5, 2)
  ),
  "patches": Case(bj.Patches(2), (4, 6, 2)),
  "patches_haar": Case(bj.Patches(4, "haar"), (8, 4, 1)),
  "patches_none": Case(bj.Patches(3, "none"), (3, 6, 1)),
  "injector": Case(bj.AffineInjector(_CONV), (4, 4, 4), _MAP),
  "injector_two_conditions": Case(
    bj.AffineInjector(_CONV, clamp="freia_2021"), (4, 4, 4), (_VECTOR, _MAP)
  ),
  "injector_vector_on_image": Case(
    bj.AffineInjector(_CONV), (4, 4, 4), _VECTOR
  ),
  # Only shifts, so its log_det has no gradient.
  "injector_additive": Case(bj.AdditiveInjector(_DENSE), (7,), _VECTOR),
  # Some of the data are outside the bound.
  "coupling_spline": Case(
    bj.SplineCoupling(_CONV, sides=1, bins=4, bound=1.5), (4, 4, 4), _MAP
  ),
  "coupling_affine_spline": Case(
    bj.SplineCoupling(_DENSE, bins=4, bound=1.5, affine_alpha=0.8),
    (7,),
    _VECTOR,
  ),
  "actnorm": Case(bj.ActNorm(), (3, 3, 5)),
  "conv_1x1": Case(bj.InvertibleConv1x1(), (3, 3, 5)),
  "conv_1x1_full": Case(bj.FullConv1x1(), (3, 3, 5)),
  # Rotations keep lengths, so without scales there would be no gradient.
  "cayley": Case(
    bj.Chain((bj.Cayley(), bj.Standardize(0.0, (1, 2, 3, 4, 5)))), (3, 3, 5)
  ),
  "householder": Case(
    bj.Chain((bj.Householder(3), bj.Standardize(0.0, (1, 2, 3, 4, 5)))),
    (3, 3, 5),
  ),
  "standardize": Case(bj.Standardize(0.5, 0.25), (3, 3, 5)),
  # Bounds that contain the draws, in both directions.
  "bounded": Case(bj.Bounded(-9.0, 7.0), (2, 2, 3)),
  "bounded_channels": Case(
    bj.Bounded((-8.0, None, -9.0, None), (None, 8.0, 7.0, None)), (2, 2, 4)
  ),
  "permutation": Case(bj.Permutation(), (3, 3, 5)),
  "permutation_seeded": Case(bj.Permutation(seed=7), (9,)),
  "orthogonal": Case(bj.Orthogonal(), (3, 3, 5)),
  "squeeze": Case(bj.Squeeze(), (4, 6, 2)),
  "squeeze_channel": Case(bj.Squeeze(order="channel"), (4, 6, 2)),
  "haar": Case(bj.Haar(), (4, 6, 2)),
  "haar_channel": Case(bj.Haar(rebalance=1.0, order="channel"), (4, 6, 2)),
  "haar_one_channel": Case(bj.Haar(), (4, 4, 1)),
  "flatten": Case(bj.Flatten((2, 3, 4)), (2, 3, 4)),
  "flatten_channel": Case(bj.Flatten((2, 3, 4), "channel"), (2, 3, 4)),
  "conditional_mixing": Case(
    bj.ConditionalMixing(_DENSE), (3, 3, 5), (_VECTOR, (3,))
  ),
  # Some of the data are outside the bound.
  "conditional_whitening": Case(
    bj.ConditionalWhitening(), (7,), (_VECTOR, (3,))
  ),
  "conditional_spline": Case(
    bj.ConditionalSpline(_DENSE, bins=4, bound=1.5), (2, 1), (_VECTOR, (3,))
  ),
  "conditional_spline_alone": Case(bj.ConditionalSpline(_DENSE, bins=4), (1,)),
  "dequantization": Case(
    bj.Dequantization(_fractions(), nn.Conv(3, (2, 2), 2), levels=4), (4, 4, 1)
  ),
  "prior": Case(bj.LearnedPrior(), (4, 4, 3), (_MAP, _VECTOR)),
  "prior_split": Case(
    bj.PriorSplit(bj.Split(1), _CONV), (4, 4, 4), (_MAP, _VECTOR)
  ),
  "split": Case(bj.Split(3), (2, 2, 4)),
  "split_first": Case(bj.Split(1, side="first"), (2, 2, 4)),
  "chain": Case(
    bj.Chain((bj.Squeeze(), bj.AffineCoupling(_CONV))), (8, 8, 1), _MAP
  ),
  "inverse": Case(bj.Inverse(_step()), (4, 4, 4), _MAP),
  "glow_stack": Case(
    bj.Stack(
      bj.Chain((bj.ActNorm(), bj.InvertibleConv1x1(), bj.GINCoupling(_CONV))),
      2,
    ),
    (4, 4, 4),
    _MAP,
  ),
  "stack": Case(bj.Stack(_step(), 3), (4, 4, 4), _MAP),
  "stack_spatial": Case(
    bj.SpatialStack(
      bj.Chain(
        (
          bj.Stack(bj.AffineCoupling(_DENSE, sides=1), 2),
          bj.SpatialCoupling(_DENSE, pattern="rows_odd"),
        )
      ),
      3,
    ),
    (2, 4, 2),
    (2, 4, 3),
  ),
  "conditioned": Case(bj.Conditioned(_step(), 1), (4, 4, 4), ((9,), _MAP)),
  "multi_scale": Case(
    two_levels(), (4, 4, 2), {"fine": (2, 2, 3), "coarse": (5,)}
  ),
}
