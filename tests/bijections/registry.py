"""Every bijection, by name: adding one to the tests is adding one line."""

import functools
from typing import NamedTuple

from cinn_jax import bijections as bj
from cinn_jax.models.subnets import Subnet

_CONV = functools.partial(Subnet, widths=(6,), kernels=(3, 1))
_DENSE = functools.partial(Subnet, widths=(8, 8), kernels=(1, 1, 1))
_MAP, _VECTOR = (4, 4, 3), (5,)


class Case(NamedTuple):
  bijection: bj.Bijection
  shape: tuple[int, ...]  # of one example
  cond: object = None  # a pytree of shapes of one example


def _step(**options):
  return bj.Chain((bj.AffineCoupling(_CONV, **options), bj.Orthogonal()))


def _two_levels():
  fine = bj.Chain((bj.Haar(), bj.Stack(_step(), 2)))
  dense = bj.Chain(
    (
      bj.Flatten((2, 2, 2)),
      bj.Stack(bj.Chain((bj.AffineCoupling(_DENSE), bj.Permutation())), 2),
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
  """A condition's own head, as a network of one argument."""

  widths: tuple[int, ...] = (4,)
  kernels: tuple[int, ...] = (1, 1)

  def __call__(self, cond):
    return super().__call__(cond, None, 3)


# Few distinct shapes: most of the tests' time is compilation.
CASES = {
  "coupling": Case(bj.AffineCoupling(_CONV), (4, 4, 4), _MAP),
  "coupling_dense": Case(bj.AffineCoupling(_DENSE), (7,), _VECTOR),
  "coupling_odd": Case(bj.AffineCoupling(_CONV), (4, 4, 3), _MAP),
  "coupling_vector_on_image": Case(
    bj.AffineCoupling(_CONV), (4, 4, 4), _VECTOR
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
  "permutation": Case(bj.Permutation(), (3, 3, 5)),
  "permutation_seeded": Case(bj.Permutation(seed=7), (9,)),
  "orthogonal": Case(bj.Orthogonal(), (3, 3, 5)),
  "squeeze": Case(bj.Squeeze(), (4, 6, 2)),
  "squeeze_channel": Case(bj.Squeeze(order="channel"), (4, 6, 2)),
  "haar": Case(bj.Haar(), (4, 6, 2)),
  "haar_channel": Case(bj.Haar(rebalance=1.0, order="channel"), (4, 6, 2)),
  "haar_one_channel": Case(bj.Haar(), (4, 4, 1)),
  "flatten": Case(bj.Flatten((2, 3, 4)), (2, 3, 4)),
  "split": Case(bj.Split(3), (2, 2, 4)),
  "split_first": Case(bj.Split(1, side="first"), (2, 2, 4)),
  "chain": Case(
    bj.Chain((bj.Squeeze(), bj.AffineCoupling(_CONV))), (8, 8, 1), _MAP
  ),
  "inverse": Case(bj.Inverse(_step()), (4, 4, 4), _MAP),
  "stack": Case(bj.Stack(_step(), 3), (4, 4, 4), _MAP),
  "conditioned": Case(bj.Conditioned(_step(), 1), (4, 4, 4), ((9,), _MAP)),
  "multi_scale": Case(
    _two_levels(), (4, 4, 2), {"fine": (2, 2, 3), "coarse": (5,)}
  ),
}
