"""Networks inside couplings: (data half, condition) to log-scale and shift.

The first layer computes the condition's part as a separate product,
`layer(u) + layer_c(c)`. That is the same function with as many parameters as a
layer on their concatenation. But under `vmap` over latents, everything that
depends on the condition alone is computed once per image, however many samples
are drawn. Every other layer that sees the condition does the same.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cinn_jax.bijections.base import Array, Condition
from cinn_jax.bijections.conditions import check_condition_channels
from cinn_jax.runtime.cpu_convolution import conv_general_dilated

Initializer = jax.nn.initializers.Initializer

# Precisions of the networks inside a flow, by name. float32 follows the data,
# which are float64 in exact checks. Parameters, the flow itself and its
# likelihood stay float32.
COMPUTE_DTYPES: dict[str, DTypeLike | None] = {
  "float32": None,
  "bfloat16": jnp.bfloat16,
}


def compute_dtype_named(name: str) -> DTypeLike | None:
  """Returns the `dtype` of networks for a config's `compute_dtype`.

  Raises:
    ValueError: For an unknown name.
  """
  if name not in COMPUTE_DTYPES:
    raise ValueError(
      f"Unknown compute_dtype {name!r}; there are {', '.join(COMPUTE_DTYPES)}."
    )
  return COMPUTE_DTYPES[name]


class Subnet(nn.Module):
  """Convolutions, or dense layers for vectors, that see data and condition.

  Attributes:
    widths: Numbers of channels of the hidden layers; one more layer makes the
      output.
    kernels: Kernel sizes of all layers, the output included; 1 for dense
      layers.
    activation: Activation between the layers.
    init_std: None starts weights at LeCun's scale, the variance 1/n for a layer
      with n inputs, those of the condition included, and biases at 0. A number
      draws both from N(0, init_std^2), as the published cINNs do.
    uniform_init: Draws weights and biases from U(-1/sqrt(n), 1/sqrt(n))
      instead, whose variance is 1/(3n), as PyTorch and so CAFLOW's and FrEIA's
      networks do. Nonzero biases keep ReLU units with few inputs from all
      switching at 0.
    zero_last: Starts the output layer at 0. A coupling then starts without
      scaling or shifting by the network.
    densely_connected: Every layer sees the data, the condition and all hidden
      layers before it (Huang et al. 2017), not only the last hidden layer.
    dtype: Precision of the computation; None follows the data.
  """

  widths: Sequence[int]
  kernels: Sequence[int]
  activation: Callable = nn.relu
  init_std: float | None = None
  uniform_init: bool = False
  zero_last: bool = True
  densely_connected: bool = False
  dtype: DTypeLike | None = None

  @nn.compact
  def __call__(self, u: Array, cond: Condition, features: int) -> Array:
    """Maps [B, ..., C] and a condition to [B, ..., features].

    The leaves of `cond` are vectors [B, Cc], the same for every position, or
    have the data's own spatial shape. Kernels above 1 are for images. For
    vectors, which have no neighbours, every layer is dense.
    """
    if len(self.kernels) != len(self.widths) + 1:
      raise ValueError(
        f"{len(self.widths)} hidden layers and the output need"
        f" {len(self.widths) + 1} kernel sizes, got {list(self.kernels)}."
      )
    leaves = jax.tree.leaves(cond)
    check_condition_channels(self, leaves)
    layer_input = u
    for k, width in enumerate([*self.widths, features]):
      is_last = k == len(self.widths)
      sees_condition = k == 0 or self.densely_connected
      inputs = layer_input.shape[-1]
      if sees_condition:
        inputs += sum(leaf.shape[-1] for leaf in leaves)
      layer = self._layer(
        u.ndim, width, self.kernels[k], inputs, is_last=is_last
      )
      hidden = layer(f"layer_{k}")(layer_input)
      if sees_condition:
        prefix = f"layer_{k}_condition" if k else "condition"
        for i, leaf in enumerate(leaves):
          condition_layer = layer(f"{prefix}_{i}", use_bias=False)
          hidden += condition_layer(_broadcast(leaf, u, self.kernels[k]))
      if not is_last:
        hidden = self.activation(hidden)
        new = [layer_input, hidden] if self.densely_connected else [hidden]
        layer_input = jnp.concatenate(new, -1)
    return hidden

  def _layer(self, rank, width, kernel, inputs, *, is_last):
    """Returns a constructor of equal layers, `make(name, use_bias=True)`."""
    weights, biases = initializers(self.init_std)
    fan_in = inputs * (kernel**2 if rank == 4 else 1)
    if self.uniform_init:
      weights = biases = _uniform(1 / math.sqrt(fan_in))
    elif self.init_std is None:
      weights = _lecun_normal(fan_in)
    if is_last and self.zero_last:
      weights = biases = nn.initializers.zeros
    shared = {
      "kernel_init": weights,
      "bias_init": biases,
      "dtype": self.dtype,
    }
    if rank == 4:
      return lambda name, use_bias=True: nn.Conv(
        width,
        (kernel, kernel),
        name=name,
        use_bias=use_bias,
        conv_general_dilated=conv_general_dilated,
        **shared,
      )
    if rank > 2 and kernel != 1:
      raise ValueError(
        "Kernels above 1 are for images [B, H, W, C], got"
        f" {list(self.kernels)} for data of {rank} axes."
      )
    return lambda name, use_bias=True: nn.Dense(
      width, name=name, use_bias=use_bias, **shared
    )


def initializers(std: float | None) -> tuple[Initializer, Initializer]:
  """Returns initializers of weights and biases.

  Without `std`, LeCun's scale for weights and 0 for biases; else N(0, std^2)
  for both.
  """
  if std is None:
    return nn.initializers.lecun_normal(), nn.initializers.zeros
  return (nn.initializers.normal(std),) * 2


def _lecun_normal(fan_in):
  """Draws a part of the weights of a layer that has `fan_in` inputs in all."""

  def draw(key, shape, dtype=jnp.float32):
    # The kernels' products add up, and so do their variances.
    share = math.prod(shape[:-1]) / fan_in
    scaling = nn.initializers.variance_scaling
    return scaling(share, "fan_in", "truncated_normal")(key, shape, dtype)

  return draw


def _uniform(bound):
  def draw(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return draw


def _broadcast(leaf, u, kernel):
  """Reshapes a vector to broadcast against `u`; repeats it if kernel > 1."""
  if leaf.ndim != 2:
    return leaf
  one = leaf.reshape(leaf.shape[0], *(1,) * (u.ndim - 2), leaf.shape[-1])
  if kernel == 1:
    return one
  return jnp.broadcast_to(one, (*u.shape[:-1], leaf.shape[-1]))
