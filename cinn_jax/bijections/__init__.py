"""Invertible layers with exact log-determinants; `base` has the contract."""

from cinn_jax.bijections.actnorm import ActNorm
from cinn_jax.bijections.autoregressive import AutoregressiveBlock
from cinn_jax.bijections.base import (
  COLLECTIONS,
  REPORTS,
  Array,
  Bijection,
  Chain,
  Condition,
  Conditioned,
  Inverse,
  PyTree,
)
from cinn_jax.bijections.checkerboard import CheckerboardCoupling
from cinn_jax.bijections.conditional_mixing import ConditionalMixing
from cinn_jax.bijections.conditional_spline import ConditionalSpline
from cinn_jax.bijections.coupling import (
  AdditiveCoupling,
  AffineCoupling,
  Coupling,
  GINCoupling,
  RealNVPCoupling,
)
from cinn_jax.bijections.dequantization import Dequantization
from cinn_jax.bijections.elementwise import Bounded, Standardize
from cinn_jax.bijections.injector import (
  AdditiveInjector,
  AffineInjector,
  Injector,
)
from cinn_jax.bijections.linear import (
  MIXINGS,
  Cayley,
  FullConv1x1,
  Householder,
  InvertibleConv1x1,
  Orthogonal,
  Permutation,
  mixing_named,
)
from cinn_jax.bijections.log_scales import CLAMPS, max_log_scale
from cinn_jax.bijections.multiscale import MultiScale, Split
from cinn_jax.bijections.prior import LearnedPrior, PriorSplit
from cinn_jax.bijections.reshape import Flatten, Haar, Squeeze
from cinn_jax.bijections.spatial import SpatialCoupling, SpatialStack
from cinn_jax.bijections.spline import SplineCoupling
from cinn_jax.bijections.stack import MEMORY_POLICIES, Stack
from cinn_jax.bijections.tokens import Patches
from cinn_jax.bijections.whitening import ConditionalWhitening

__all__ = [
  "CLAMPS",
  "COLLECTIONS",
  "MEMORY_POLICIES",
  "MIXINGS",
  "REPORTS",
  "ActNorm",
  "AdditiveCoupling",
  "AdditiveInjector",
  "AffineCoupling",
  "AffineInjector",
  "Array",
  "AutoregressiveBlock",
  "Bijection",
  "Bounded",
  "Cayley",
  "Chain",
  "CheckerboardCoupling",
  "Condition",
  "ConditionalMixing",
  "ConditionalSpline",
  "ConditionalWhitening",
  "Conditioned",
  "Coupling",
  "Dequantization",
  "Flatten",
  "FullConv1x1",
  "GINCoupling",
  "Haar",
  "Householder",
  "Injector",
  "Inverse",
  "InvertibleConv1x1",
  "LearnedPrior",
  "MultiScale",
  "Orthogonal",
  "Patches",
  "Permutation",
  "PriorSplit",
  "PyTree",
  "RealNVPCoupling",
  "SpatialCoupling",
  "SpatialStack",
  "SplineCoupling",
  "Split",
  "Squeeze",
  "Stack",
  "Standardize",
  "max_log_scale",
  "mixing_named",
]
