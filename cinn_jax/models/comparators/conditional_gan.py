"""Conditional generative adversarial networks: like pix2pix, and ESRGAN.

Generator and discriminator are trained at the same time: the loss is the sum of
both losses, and neither sends gradients into the other's parameters. Two groups
of the optimizer, "discriminator" and the rest, act as their two optimizers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array, Condition
from cinn_jax.models.comparators.answer import Answer, absolute, answer_parts
from cinn_jax.models.comparators.regression import check_memory, rrdb_net
from cinn_jax.models.image_cinn import resize
from cinn_jax.models.networks.patch_discriminator import PatchDiscriminator


def _hinge(real, fake):
  judge = jnp.mean(nn.relu(1 - real)) + jnp.mean(nn.relu(1 + fake))
  return -jnp.mean(fake), judge


def _relativistic(real, fake):
  real_than_fake, fake_than_real = real - fake.mean(), fake - real.mean()
  judge = jnp.mean(nn.softplus(-real_than_fake) + nn.softplus(fake_than_real))
  maker = jnp.mean(nn.softplus(real_than_fake) + nn.softplus(-fake_than_real))
  return maker, judge


# Functions `(real, fake) -> (generator's loss, discriminator's loss)` by name.
ADVERSARIAL: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
  "hinge": _hinge,
  "relativistic": _relativistic,
}


class ConditionalGAN(Answer):
  """An `Answer` to noise, trained against a `PatchDiscriminator`.

  Attributes:
    discriminator: Sees x, or the answer, together with the condition.
    adversarial: "hinge"; or "relativistic", the relativistic average loss of
      ESRGAN.
    adversarial_weight, l1_weight: Weights of the generator's two losses.
    r1_weight: Weight gamma of R1, which is gamma / 2 times the squared gradient
      of the real pictures' score (Mescheder et al. 2018).
  """

  discriminator: Any = None
  adversarial: str = "hinge"
  adversarial_weight: float = 1.0
  l1_weight: float = 0.0
  r1_weight: float = 1.0
  title = "a conditional GAN"

  def __call__(self, x: Array, cond: Condition) -> tuple[Array, Array]:
    """Runs both networks, the generator without noise."""
    z = tuple(
      jnp.zeros((len(x), *shape), x.dtype)
      for shape in self.latent_shapes(x.shape[1:], cond.shape[1:])
    )
    return self.decode(z, cond, x.shape[1:3]), self.judge(x, cond)

  def decode(
    self, z: Sequence[Array], cond: Condition, size: Sequence[int]
  ) -> Array:
    """Returns the generator's picture [B, H, W, C] for its noise."""
    return self.to_x(self.answer(cond, size, z if self._has_code else ()))

  def judge(self, x: Array, cond: Condition) -> Array:
    """Returns the scores of patches [B, h, w]: high for real pictures."""
    if cond.ndim == 4:
      cond = resize((cond - self.mean) / self.std, x.shape[1:3])
    return self.discriminator((x - self.mean) / self.std, cond)

  @property
  def _has_code(self) -> bool:
    return bool(self.code) or any(self.code_channels)

  @nn.nowrap
  def latent_shapes(
    self, event_shape: Sequence[int], cond_shape: Sequence[int]
  ) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of the noise; without noise, one empty shape, (0,)."""
    return self.code_shapes(event_shape[:2], cond_shape) or ((0,),)

  @nn.nowrap
  def loss(
    self, variables: Mapping[str, Any], rng: Array, x: Array, cond: Condition
  ) -> tuple[Array, dict[str, Array]]:
    """Returns the sum of both networks' losses, and its parts.

    "generator" is the adversarial part, "l1" the error in units of `std`, and
    "discriminator" the discriminator's loss without "r1".
    """
    params = variables["params"]
    fixed = {
      **params,
      "discriminator": jax.lax.stop_gradient(params["discriminator"]),
    }

    def judge(params, x):
      return self.apply({"params": params}, x, cond, method="judge")

    shapes = self.latent_shapes(x.shape[1:], cond.shape[1:])
    z = tuple(
      jax.random.normal(key, (len(x), *shape), x.dtype)
      for key, shape in zip(
        jax.random.split(rng, len(shapes)), shapes, strict=True
      )
    )
    fake: Any = self.apply(variables, z, cond, x.shape[1:3], method="decode")
    adversarial = ADVERSARIAL[self.adversarial]
    real_score, back = jax.vjp(lambda x: judge(params, x), x)
    (gradient,) = back(jnp.ones_like(real_score) / real_score[0].size)
    r1 = 0.5 * jnp.mean(jnp.sum(gradient**2, axis=(1, 2, 3)))
    maker, _ = adversarial(
      jax.lax.stop_gradient(real_score), judge(fixed, fake)
    )
    _, discriminator = adversarial(
      real_score, judge(params, jax.lax.stop_gradient(fake))
    )
    l1 = jnp.mean(absolute(fake / self.std, x / self.std))
    total = (
      self.adversarial_weight * maker
      + self.l1_weight * l1
      + discriminator
      + self.r1_weight * r1
    )
    terms = {
      "generator": maker,
      "l1": l1,
      "discriminator": discriminator,
      "r1": r1,
    }
    return total, terms


def conditional_gan(
  *,
  channels: int = 3,
  widths: Sequence[int] = (32, 64, 128),
  blocks: int = 1,
  code_channels: Sequence[int] = (1, 2, 4),
  code: int = 64,
  discriminator_widths: Sequence[int] = (64, 128, 256),
  adversarial: str = "hinge",
  adversarial_weight: float = 1.0,
  l1_weight: float = 0.0,
  r1_weight: float = 1.0,
  condition_levels: Sequence[Sequence[tuple[int, int]]] = (),
  condition_vector: int = 0,
  condition_pool: int = 2,
  resized: bool = False,
  mean: float = 0.0,
  std: float = 1.0,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalGAN:
  """Builds a conditional GAN: a U-Net with noise against a PatchGAN.

  It follows pix2pix (Isola et al. 2017). Departures: noise enters at every
  resolution and as a vector, not through dropout; hinge loss and R1 replace
  cross-entropy and batch norm.

  Args:
    channels, widths, blocks: See `u_net.TopDown`.
    code_channels, code: The noise, see `Answer`.
    discriminator_widths: See `PatchDiscriminator`.
    adversarial, adversarial_weight, l1_weight, r1_weight: See `ConditionalGAN`.
    condition_levels, condition_vector, condition_pool, resized, mean, std,
      memory, compute_dtype: See `regression.regression`.

  Raises:
    ValueError: For an unknown loss, or settings of different lengths.
  """
  check_memory(memory)
  _check(adversarial)
  if len(code_channels) != len(widths):
    raise ValueError(
      "code_channels needs one number per resolution, as widths does; got"
      f" {len(code_channels)} for {len(widths)} widths."
    )
  parts = answer_parts(
    widths=widths,
    blocks=blocks,
    channels=channels,
    condition_levels=condition_levels,
    condition_vector=condition_vector,
    condition_pool=condition_pool,
    compute_dtype=compute_dtype,
  )
  return ConditionalGAN(
    **parts,
    discriminator=PatchDiscriminator(tuple(discriminator_widths)),
    code_channels=tuple(code_channels),
    code=code,
    adversarial=adversarial,
    adversarial_weight=adversarial_weight,
    l1_weight=l1_weight,
    r1_weight=r1_weight,
    resized=resized,
    mean=mean,
    std=std,
  )


def esrgan(
  *,
  blocks: int = 23,
  width: int = 64,
  growth: int = 32,
  noise: int = 0,
  discriminator_widths: Sequence[int] = (64, 128, 256, 512),
  adversarial: str = "relativistic",
  adversarial_weight: float = 5e-3,
  l1_weight: float = 2.5e-3,
  r1_weight: float = 1.0,
  memory: str = "store",
  compute_dtype: str = "float32",
) -> ConditionalGAN:
  """Builds ESRGAN (Wang et al. 2018) for RGB in [0, 1), enlarged 2^n times.

  The generator is the RRDB network. `training.pretraining` first trains it with
  L1, as published. The loss and its weights are the published ones: 0.01 for an
  L1 in units of [0, 1] is 0.0025 in units of `std`.

  Departures: there is no perceptual loss, since its network is not available;
  the discriminator is a PatchGAN that also sees the small picture, not a VGG
  that does not; R1 is added.

  Args:
    blocks, width, growth: See `rrdb.RRDBEncoder`.
    noise: Number of noise channels, which a convolution adds to the small
      picture, about one 8-bit level at the start; 0, as published, makes all
      samples equal.
    discriminator_widths: See `PatchDiscriminator`.
    adversarial, adversarial_weight, l1_weight, r1_weight: See `ConditionalGAN`.
    memory, compute_dtype: See `regression.regression`.

  Raises:
    ValueError: For an unknown loss.
  """
  check_memory(memory)
  _check(adversarial)
  return ConditionalGAN(
    rrdb_net(blocks, width, growth, compute_dtype),
    None,
    discriminator=PatchDiscriminator(tuple(discriminator_widths)),
    code_channels=(noise,),
    adversarial=adversarial,
    adversarial_weight=adversarial_weight,
    l1_weight=l1_weight,
    r1_weight=r1_weight,
    mean=0.5,
    std=0.25,
  )


def _check(adversarial):
  if adversarial not in ADVERSARIAL:
    raise ValueError(
      f"adversarial must be {' or '.join(ADVERSARIAL)}, got {adversarial!r}."
    )
