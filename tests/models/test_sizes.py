"""Checks of the sizes that a multi-scale flow takes."""

import pytest

from cinn_jax.models.sizes import check_size


@pytest.mark.parametrize("shape", [(2, 64, 32, 3), (32, 96, 1)])
def test_multiples_pass(shape):
  check_size(shape, 32, "a flow")


@pytest.mark.parametrize(
  "size, nearest",
  [
    ((70, 40), "64x32 or 96x64"),
    ((64, 40), "64x32 or 64x64"),
    ((20, 32), "32x32,"),
  ],
)
def test_other_sizes_raise_and_name_the_nearest(size, nearest):
  with pytest.raises(ValueError) as error:
    check_size((2, *size, 3), 32, "CAFLOW with 4 levels")
  message = str(error.value)
  assert message.startswith("CAFLOW with 4 levels takes"), message
  assert f"got {size[0]}x{size[1]}:" in message
  assert f"to {nearest}" in message
