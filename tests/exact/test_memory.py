"""Memory policies change no gradient, to 1e-10 in float64."""

import numpy as np
import pytest

from cinn_jax import bijections as bj
from tests.support import slow
from tests.support.gradients import KINDS, assert_as_stored
from tests.support.registry import CASES


def test_every_coupling_is_in_kinds():
  couplings = {
    part
    for part in vars(bj).values()
    if isinstance(part, type) and issubclass(part, bj.Coupling)
  }
  covered = {type(CASES[name].bijection) for name in KINDS}
  assert couplings - {bj.Coupling} <= covered


# tests/bijections/test_memory.py checks most others in float32.
QUICK = ("injector", "multi_scale")


@pytest.mark.parametrize(
  "name", slow.all_but(QUICK, (*KINDS, "glow", "multi_scale"))
)
def test_reversible_gradients_are_the_stored_ones(name):
  assert_as_stored(name, "reversible", "forward", np.float64, 1e-10)


@pytest.mark.parametrize(
  "name",
  slow.all_but(["multi_scale"], ["multi_scale", "coupling_spline", "glow"]),
)
def test_reversible_gradients_of_the_inverse(name):
  assert_as_stored(name, "reversible", "inverse", np.float64, 1e-10)
