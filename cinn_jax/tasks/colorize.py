"""Colorization: the colours (a, b) of CIE Lab given the lightness L."""

import jax
import jax.numpy as jnp

from cinn_jax.bijections.base import Array
from cinn_jax.images import bilateral, color
from cinn_jax.tasks.base import Task

# Offsets and scales of L and of (a, b), from Ardizzone et al. 2019.
L_OFFSET, L_SCALE = 47.5, 25.6
AB_OFFSETS, AB_SCALES = (2.4, 7.4), (11.2, 16.8)


def colorize(
  *,
  image_size: int,
  ab_size: int,
  noise: str = "gaussian",
  noise_scale: float = 0.05,
) -> Task:
  """Builds the task of colorizing pictures: ab of Lab given the lightness L.

  x holds normalised ab, [B, ab_size, ab_size, 2], and cond normalised L,
  [B, image_size, image_size, 1]. `render` upsamples ab along the edges of L and
  keeps L: colours outside sRGB lose chroma, not lightness.

  Departure: ab is downsampled with anti-aliasing; the authors' code picks
  single pixels.

  Args:
    image_size: Side of the pictures, in pixels.
    ab_size: Side of the maps of ab, at most image_size.
    noise: "gaussian" adds N(0, noise_scale^2) to x, as the authors do for
      ImageNet; "uniform" adds noise_scale * U[0, 1) to x and to cond, as they
      do for LSUN.
    noise_scale: Size of the noise, in normalised units.

  Raises:
    ValueError: if `ab_size` is out of range, or the noise is unknown.
  """
  if noise not in ("gaussian", "uniform"):
    raise ValueError(f"noise must be 'gaussian' or 'uniform', got {noise!r}.")
  if not 0 < ab_size <= image_size:
    raise ValueError(
      f"ab_size must be from 1 to image_size ({image_size}), got {ab_size}."
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


def downsample(maps: Array, shape: tuple[int, int]) -> Array:
  """Resizes [B, H, W, C] to [B, *shape, C] with anti-aliasing."""
  b, _, _, c = maps.shape
  return jax.image.resize(maps, (b, *shape, c), "linear", antialias=True)


def normalize_lightness(lightness: Array) -> Array:
  """Converts L, in [0, 100], to the network's units."""
  return (lightness - L_OFFSET) / L_SCALE


def denormalize_lightness(cond: Array) -> Array:
  """Converts the network's units to L, clipped to [0, 100]."""
  return jnp.clip(cond * L_SCALE + L_OFFSET, 0.0, 100.0)


def normalize_ab(ab: Array) -> Array:
  """Converts ab [..., 2] in Lab units to the network's units."""
  offset, scale = _constants(ab)
  return (ab - offset) / scale


def denormalize_ab(x: Array) -> Array:
  """Converts the network's units to ab [..., 2], clipped to [-128, 128]."""
  offset, scale = _constants(x)
  return jnp.clip(x * scale + offset, -128.0, 128.0)


def _constants(x):
  shape = (1,) * (x.ndim - 1) + (2,)
  return (
    jnp.asarray(AB_OFFSETS, x.dtype).reshape(shape),
    jnp.asarray(AB_SCALES, x.dtype).reshape(shape),
  )
