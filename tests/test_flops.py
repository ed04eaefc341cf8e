"""The peaks that utilisation is a share of."""

import pytest

from cinn_jax.flops import peak_flops


@pytest.mark.parametrize(
  "kind, expected",
  [
    ("NVIDIA H100 80GB HBM3", 989e12),
    ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA A100-SXM4-40GB", 312e12),
    ("TPU v5 lite", 197e12),
    ("TPU v5", 459e12),
    ("TPU v6 lite", 918e12),
    ("cpu", None),
  ],
)
def test_the_longest_name_counts(kind, expected):
  assert peak_flops(kind) == expected
