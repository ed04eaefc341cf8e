"""The cINN for coloured digits (Ardizzone et al. 2019, published code).

Its condition network is a classifier of grey digits, trained before the flow
and fixed from then on: the colours of a digit depend on its class alone.
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn

from cinn_jax import bijections as bj
from cinn_jax.bijections.base import Array
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.networks.subnets import Subnet, compute_dtype_named

_leaky_relu = functools.partial(nn.leaky_relu, negative_slope=0.01)


class DigitClassifier(nn.Module):
  """A network from a digit to features, and from these to class scores.

  It has 3x3 convolutions without padding, in groups that end in 2x2 max
  pooling, then dense layers with dropout between them. As published, pooling is
  its only non-linearity. It has 913,610 parameters for pictures of 28x28.

  Attributes:
    convolutions: Numbers of channels, by group.
    hidden: Widths of the dense layers before the features.
    features: Number of features.
    num_classes: Number of classes.
    dropout: Dropout rate of the hidden dense layers in training.
  """

  convolutions: Sequence[Sequence[int]] = ((32, 64), (64, 64))
  hidden: Sequence[int] = (512, 512)
  features: int = 64
  num_classes: int = 10
  dropout: float = 0.5

  @nn.compact
  def __call__(
    self, grey: Array, *, deterministic: bool = True
  ) -> tuple[Array, Array]:
    """Maps [B, S, S, 1] in [0, 1] to features [B, F], logits [B, classes].

    Unless it is `deterministic`, it takes a random stream "dropout".
    """
    hidden = grey
    for group in self.convolutions:
      for channels in group:
        hidden = nn.Conv(channels, (3, 3), padding="VALID")(hidden)
      hidden = nn.max_pool(hidden, (2, 2), (2, 2))
    if not hidden.size:
      raise ValueError(
        f"{grey.shape[1]} pixels are too few for the groups of convolutions"
        f" {self.convolutions}: nothing is left of the picture. Use fewer"
        " convolutions or larger pictures."
      )
    hidden = hidden.reshape(hidden.shape[0], -1)
    for width in self.hidden:
      hidden = nn.Dense(width)(hidden)
      hidden = nn.Dropout(self.dropout, deterministic=deterministic)(hidden)
    features = nn.Dense(self.features)(hidden)
    return features, nn.Dense(self.num_classes)(features)


class ClassifierFeatures(nn.Module):
  """A picture, and a trained classifier's features of it.

  The classifier's parameters are constants: saved with the model, never changed
  by its training. They start at random; `training.pretraining` replaces them by
  those of a trained classifier. Dropout is off, when the flow is trained and
  afterwards. The published code leaves it on, even in evaluation.

  Attributes:
    make_classifier: Makes a module with the signature of `DigitClassifier`.
  """

  make_classifier: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, cond: Array) -> dict[str, Array]:
    """Maps [B, S, S, 1] to {"features": [B, F], "picture": [B, S, S, 1]}."""
    classifier = self.classifier()

    def init():
      return classifier.init(self.make_rng("params"), cond)["params"]

    params = self.variable("constants", "classifier", init).value
    features, _ = classifier.apply({"params": params}, cond)
    return {"features": features, "picture": cond}

  def classifier(self) -> nn.Module:
    """Returns the classifier itself, for training."""
    return self.make_classifier(parent=None)


def color_mnist(
  *,
  size: int = 28,
  conv_depth: int = 3,
  conv_hidden: int = 64,
  depth: int = 7,
  hidden: Sequence[int] = (256, 256),
  convolutions: Sequence[Sequence[int]] = ((32, 64), (64, 64)),
  classifier_hidden: Sequence[int] = (512, 512),
  features: int = 64,
  dropout: float = 0.5,
  alpha: float = 1.9,
  clamp: str = "cinn_code",
  init_std: float | None = 0.03,
  zero_last: bool = True,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalFlow:
  """Builds the cINN: colours [B, size, size, 3] of a digit [B, size, size, 1].

  The defaults are the published network. Three couplings of each pixel's
  channels, 79,932 parameters, see the grey picture and a classifier's features
  of it. Seven couplings of all pixels, 13,601,952 parameters, are not
  conditioned. A fixed permutation precedes each coupling. The classifier's
  913,610 parameters are constants.

  Departures: permutations are drawn with the parameters, not from numpy's
  seeds; dropout is off when the flow runs, see `ClassifierFeatures`.

  Args:
    size: Height and width of the pictures, in pixels.
    conv_depth, conv_hidden: Number of couplings of channels, and width of the
      two hidden layers of their densely connected 1x1 subnets.
    depth, hidden: Number of dense couplings, and widths of their subnets.
    convolutions, classifier_hidden, features, dropout: See `DigitClassifier`.
    alpha, clamp: See `bijections.AffineCoupling`.
    init_std, zero_last: See `Subnet`.
    memory: Memory policy, see `bijections.Stack`.
    compute_dtype: Precision of the subnets, a name in
      `subnets.COMPUTE_DTYPES`; the classifier is float32.
  """
  subnet = functools.partial(
    Subnet,
    activation=_leaky_relu,
    init_std=init_std,
    zero_last=zero_last,
    dtype=compute_dtype_named(compute_dtype),
  )

  def couplings(
    depth: int, widths: Sequence[int], *, densely_connected: bool = False
  ) -> bj.Stack:
    net = functools.partial(
      subnet,
      widths=tuple(widths),
      kernels=(1,) * (len(widths) + 1),
      densely_connected=densely_connected,
    )
    coupling = bj.AffineCoupling(net, alpha=alpha, clamp=clamp)
    return bj.Stack(bj.Chain((bj.Permutation(), coupling)), depth, memory)

  flow = bj.Chain(
    (
      couplings(conv_depth, (conv_hidden,) * 2, densely_connected=True),
      bj.Flatten((size, size, 3)),
      bj.Conditioned(couplings(depth, hidden), None),
    )
  )
  make_classifier = functools.partial(
    DigitClassifier,
    convolutions=tuple(map(tuple, convolutions)),
    hidden=tuple(classifier_hidden),
    features=features,
    dropout=dropout,
  )
  return ConditionalFlow(flow, ClassifierFeatures(make_classifier))
