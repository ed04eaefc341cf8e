"""The colorization cINN for LSUN bedrooms (Ardizzone et al. 2019).

The numbers of layers, widths and clamps are those of the authors' code. The
builder's docstring lists the departures from it.
"""

import functools
from collections.abc import Sequence

from cinn_jax import bijections as bj
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.condition_nets import Pyramid
from cinn_jax.models.networks.features import additions
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named


def haar_colorization(
  *,
  size: int = 64,
  hidden: Sequence[int] = (32, 64, 128, 512),
  depths: Sequence[int] = (2, 4, 4, 4),
  alphas: Sequence[float] = (1.0, 1.0, 0.6, 0.6),
  emits: Sequence[int] = (6, 4),
  condition_levels: Sequence[Sequence[tuple[int, int]]] = (
    ((64, 1), (64, 1)),
    ((128, 1), (128, 2)),
    ((128, 2),),
  ),
  condition_vector: int = 512,
  condition_pool: int = 4,
  condition_slope: float = 0.01,
  haar_order: str = "channel",
  flatten_order: str = "channel",
  clamp: str = "cinn_code",
  mixing: str = "permutation",
  init_std: float | None = 0.02,
  zero_last: bool = False,
  features: str = "",
  hints: bool = False,
  learned_priors: bool = False,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds the LSUN cINN: ab [B, size, size, 2] given lightness L.

  The defaults are the published network: 11,010,760 parameters. It has two
  couplings at full resolution, Haar, four at a half, split, Haar, four at a
  quarter, split, four dense ones. Couplings below full resolution alternate
  between 1x1 and 3x3 kernels, and channels are mixed after each.

  Departures: permutations are drawn with the parameters, not from numpy's
  seeds (`importing` restores the published ones); the condition network starts
  at LeCun's scale.

  Args:
    size: Height and width of ab, in pixels.
    hidden: Widths of the couplings' networks at full, half and quarter
      resolution, and of the dense ones.
    depths: Numbers of couplings there; even at half and quarter resolution.
    alphas: Bounds of the log-scale there.
    emits: Number of channels, of 8, that leave as latents at half and at
      quarter resolution.
    condition_levels, condition_vector, condition_pool: See `Pyramid`. The
      levels have the resolutions of the three convolutional parts.
    condition_slope: Negative slope of the condition network's leaky ReLU; 0 for
      a plain ReLU.
    haar_order, flatten_order: See `bijections.Haar`, `bijections.Flatten`.
    clamp: A name in `bijections.CLAMPS`.
    mixing: A name in `bijections.MIXINGS`.
    init_std, zero_last: See `Subnet`.
    features: Classifier whose features of L are added to the condition's, see
      `networks.features.named`; "" for none.
    hints: Whether the condition is a dict with hints, see `Additions`.
    learned_priors: Latents that leave are standardized by a Gaussian given the
      rest and the condition, the last ones given the condition
      (`bijections.PriorSplit`, `LearnedPrior`).
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of subnets and condition network, a name in
      `subnets.COMPUTE_DTYPES`.

  Raises:
    ValueError: For an unknown mixing, and for emits or depths that do not fit.
  """
  for name, values, count in (
    ("hidden", hidden, 4),
    ("depths", depths, 4),
    ("alphas", alphas, 4),
    ("emits", emits, 2),
    ("condition_levels", condition_levels, 3),
  ):
    if len(values) != count:
      raise ValueError(
        f"haar_colorization takes {count} entries of {name}, got {len(values)}."
      )
  mix = bj.mixing_named(mixing)
  rest = 4 * (8 - emits[0])
  if rest != 8:
    raise ValueError(f"emits[0] must leave 2 of 8 channels, got {emits[0]}.")
  if any(depth % 2 for depth in depths[1:3]):
    raise ValueError(
      "depths at half and quarter resolution are even, as couplings come in"
      f" pairs of kernels 1 and 3 there, got {list(depths)}."
    )
  dtype = compute_dtype_named(compute_dtype)
  subnet = functools.partial(
    Subnet, init_std=init_std, zero_last=zero_last, dtype=dtype
  )

  def convolutions(k: int, kernels: Sequence[int]) -> bj.Conditioned:
    parts: list[bj.Bijection] = []
    for kernel in kernels:
      net = functools.partial(
        subnet, widths=(hidden[k],), kernels=(kernel, kernel)
      )
      parts.append(bj.AffineCoupling(net, alpha=alphas[k], clamp=clamp))
      if k > 0:
        parts.append(mix())
    stack = bj.Stack(bj.Chain(parts), depths[k] // len(kernels), memory)
    return bj.Conditioned(stack, f"level_{k}")

  dense_net = functools.partial(subnet, widths=(hidden[3],), kernels=(1, 1))
  dense = bj.Chain(
    (
      bj.AffineCoupling(dense_net, alpha=alphas[3], clamp=clamp),
      bj.Permutation(),
    )
  )
  haar = functools.partial(bj.Haar, order=haar_order)
  quarter = size // 4
  splits: list[bj.Bijection] = [bj.Split(emit) for emit in emits]
  last: list[bj.Bijection] = []
  if learned_priors:
    head = functools.partial(Subnet, widths=(), kernels=(3,), dtype=dtype)
    splits = [
      bj.Conditioned(bj.PriorSplit(bj.Split(emit), head), f"level_{k}")
      for k, emit in enumerate(emits, start=1)
    ]
    last = [bj.Conditioned(bj.LearnedPrior(), "vector")]
  flow = bj.MultiScale(
    stages=(
      bj.Chain((convolutions(0, (3,)), haar(), convolutions(1, (1, 3)))),
      bj.Chain((haar(), convolutions(2, (1, 3)))),
      bj.Chain(
        (
          bj.Flatten((quarter, quarter, 8 - emits[1]), flatten_order),
          bj.Conditioned(bj.Stack(dense, depths[3], memory), "vector"),
          *last,
        )
      ),
    ),
    splits=tuple(splits),
  )
  return ConditionalFlow(
    flow,
    Pyramid(
      condition_levels,
      vector=condition_vector,
      pool=condition_pool,
      negative_slope=condition_slope,
      dtype=dtype,
    ),
    additions=additions(features, hints=hints, dtype=dtype),
  )
