"""Checks of sizes, and of settings by level, of multi-scale flows."""

import pytest

from cinn_jax.experiment.build import build_model
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


@pytest.mark.parametrize(
  "name, settings, message",
  [
    ("haar_colorization", {"depths": (2, 4, 4)}, "4 entries of depths, got 3"),
    ("haar_colorization", {"emits": (6,)}, "2 entries of emits, got 1"),
    ("haar_colorization", {"hidden": (4,) * 5}, "4 entries of hidden, got 5"),
    ("glow", {"levels": 0}, "1 level or more, got 0"),
    ("srflow", {"levels": 0}, "1 level or more, got 0"),
    ("hcflow", {"levels": 0}, "1 level or more, got 0"),
    ("dual_glow", {"levels": 0}, "1 level or more, got 0"),
    (
      "conditional_glow",
      {"levels": 0, "condition_channels": ()},
      "1 level or more, got 0",
    ),
    (
      "image_cinn",
      {"hidden": (), "depths": (), "condition_channels": ()},
      "1 level or more, got 0",
    ),
    ("caflow", {"latent_depths": (4,)}, "two latent_depths, got 1"),
  ],
)
def test_settings_by_level_that_do_not_fit_raise(name, settings, message):
  with pytest.raises(ValueError, match=message):
    build_model(name, **settings)
