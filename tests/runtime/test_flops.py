"""FLOPs of functions and peaks of devices."""

import jax
import jax.numpy as jnp
import pytest

from cinn_jax.runtime.flops import flops, peak_flops


@pytest.mark.parametrize(
  "kind, expected",
  [
    ("NVIDIA H100 80GB HBM3", 989e12),
    ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA A100-SXM4-40GB", 312e12),
    ("TPU v5 lite", 197e12),
    ("TPU v5e", 197e12),
    ("TPU v5", 459e12),
    ("TPU v6 lite", 918e12),
    ("cpu", None),
  ],
)
def test_peak_of_the_longest_matching_name(kind, expected):
  assert peak_flops(kind) == expected


def test_conditional_counts_its_most_expensive_branch():
  def either(a, b, first):
    return jax.lax.cond(first, lambda: a @ b, lambda: a @ b @ b)

  a, b = jnp.ones((3, 4)), jnp.ones((4, 4))
  assert flops(either, a, b, True) == 2 * 2 * 3 * 4 * 4
