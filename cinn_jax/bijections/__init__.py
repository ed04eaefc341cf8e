"""Invertible layers with exact log-determinants; `base` has the contract."""

from cinn_jax.bijections.base import (
  COLLECTIONS,
  Bijection,
  Chain,
  Conditioned,
  Inverse,
  Stack,
)
from cinn_jax.bijections.coupling import CLAMPS, AffineCoupling
from cinn_jax.bijections.linear import Orthogonal, Permutation
from cinn_jax.bijections.multiscale import MultiScale, Split
from cinn_jax.bijections.reshape import Flatten, Haar, Squeeze

__all__ = [
  "CLAMPS",
  "COLLECTIONS",
  "AffineCoupling",
  "Bijection",
  "Chain",
  "Conditioned",
  "Flatten",
  "Haar",
  "Inverse",
  "MultiScale",
  "Orthogonal",
  "Permutation",
  "Split",
  "Squeeze",
  "Stack",
]
