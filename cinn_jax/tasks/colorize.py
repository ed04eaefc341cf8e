"""Colorization: the colours (a, b) of CIE Lab given the lightness L."""

import jax
import jax.numpy as jnp

from cinn_jax.images import bilateral, color
from cinn_jax.tasks.base import Task

# Offsets and scales of L and of (a, b): the authors' (Ardizzone et al. 2019).
L_OFFSET, L_SCALE = 47.5, 25.6
AB_OFFSETS, AB_SCALES = (2.4, 7.4), (11.2, 16.8)


def colorize(
  *,
  image_size: int,
  ab_size: int,
  noise: str = "gaussian",
  noise_scale: float = 0.05,
) -> Task:
  """The task of colorizing pictures of `image_size`, ab at `ab_size` pixels.

  x is normalised ab [B, ab_size, ab_size, 2], downsampled with anti-aliasing
  (the authors' code picks single pixels); cond is normalised L
  [B, image_size, image_size, 1]. `render` upsamples ab along the edges of L
  and keeps L: colours outside sRGB lose chroma, not lightness.

  Args:
    noise: "gaussian", N(0, noise_scale^2) on x, as the authors train ImageNet;
      or "uniform", noise_scale * U[0, 1) on x and cond, as LSUN.
    noise_scale: in normalised units.

  Raises:
    ValueError: for sizes or a noise that do not fit.
  """
  if noise not in ("gaussian", "uniform"):
    raise ValueError(f"noise is 'gaussian' or 'uniform', got {noise!r}.")
  if not 0 < ab_size <= image_size:
    raise ValueError(
      f"ab_size must be 1 to image_size ({image_size}), got {ab_size}."
    )

  def prepare(batch):
    lab = color.srgb_to_lab(color.from_uint8(batch["image"]))
    ab = downsample(lab[..., 1:], (ab_size, ab_size))
    return normalize_ab(ab), normalize_lightness(lab[..., :1])

  def add_noise(rng, x, cond):
    if noise == "gaussian":
      return x + noise_scale * jax.random.normal(rng, x.shape), cond
    x_rng, cond_rng = jax.random.split(rng)
    x = x + noise_scale * jax.random.uniform(x_rng, x.shape)
    return x, cond + noise_scale * jax.random.uniform(cond_rng, cond.shape)

  def render(x, cond):
    lightness = denormalize_lightness(cond)
    guide = downsample(lightness, (ab_size, ab_size))
    ab = jax.vmap(bilateral.upsample)(
      denormalize_ab(x)[:, None], guide[..., 0], lightness[..., 0]
    )[:, 0]
    return color.lab_to_srgb(jnp.concatenate([lightness, ab], -1))

  def condition_picture(cond):
    lightness = denormalize_lightness(cond)
    return color.lab_to_srgb(jnp.pad(lightness, [(0, 0)] * 3 + [(0, 2)]))

  return Task(
    prepare=prepare,
    add_noise=add_noise,
    render=render,
    condition_picture=condition_picture,
    image_size=image_size,
    event_shape=(ab_size, ab_size, 2),
    cond_shape=(image_size, image_size, 1),
    scales=AB_SCALES,
    description=(
      f"ab channels of normalised Lab at {ab_size}x{ab_size} given L at"
      f" {image_size}x{image_size}, {noise} noise {noise_scale:g}"
    ),
    condition_name="grey",
    units="Lab units",
  )


def downsample(maps, shape):
  """[B, H, W, C] to [B, *shape, C] with anti-aliasing."""
  b, _, _, c = maps.shape
  return jax.image.resize(maps, (b, *shape, c), "linear", antialias=True)


def normalize_lightness(lightness):
  """L in 0..100 to the network's units."""
  return (lightness - L_OFFSET) / L_SCALE


def denormalize_lightness(cond):
  """The network's units to L in 0..100."""
  return jnp.clip(cond * L_SCALE + L_OFFSET, 0.0, 100.0)


def normalize_ab(ab):
  """ab in Lab units to the network's units."""
  offset, scale = _constants(ab)
  return (ab - offset) / scale


def denormalize_ab(x):
  """The network's units to ab in Lab units, within [-128, 128]."""
  offset, scale = _constants(x)
  return jnp.clip(x * scale + offset, -128.0, 128.0)


def _constants(x):
  shape = (1,) * (x.ndim - 1) + (2,)
  return (
    jnp.asarray(AB_OFFSETS, x.dtype).reshape(shape),
    jnp.asarray(AB_SCALES, x.dtype).reshape(shape),
  )
