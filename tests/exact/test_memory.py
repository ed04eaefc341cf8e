"""Memory policies change no gradient, to the last digits of float64."""

import numpy as np
import pytest

from cinn_jax import bijections as bj
from tests.support.gradients import KINDS, assert_as_stored
from tests.support.registry import CASES


def test_every_coupling_is_tried():
  couplings = {
    part
    for part in vars(bj).values()
    if isinstance(part, type) and issubclass(part, bj.Coupling)
  }
  tried = {type(CASES[name].bijection) for name in KINDS}
  assert couplings - {bj.Coupling} <= tried


# tests/bijections/test_memory.py has all of them in float32.
QUICK = ("coupling_spline", "injector", "multi_scale")


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in (*KINDS, "glow", "multi_scale")
  ],
)
def test_rebuilt_gradients_are_the_stored_ones(name):
  assert_as_stored(name, "reversible", "forward", np.float64, 1e-10)


@pytest.mark.parametrize(
  "name",
  [
    "multi_scale",
    pytest.param("coupling_spline", marks=pytest.mark.slow),
    pytest.param("glow", marks=pytest.mark.slow),
  ],
)
def test_through_the_inverse_too(name):
  assert_as_stored(name, "reversible", "inverse", np.float64, 1e-10)
