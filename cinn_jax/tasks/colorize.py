"""Colorization: the colours (a, b) of CIE Lab given the lightness L."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cinn_jax.bijections import Haar
from cinn_jax.bijections.base import Array, Condition
from cinn_jax.images import bilateral, color
from cinn_jax.models.networks import features
from cinn_jax.tasks import hints as hint_maps
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
  detail_noise: Sequence[float] = (),
  hints: int = 0,
  hint_share: float = 0.75,
  given_features: bool = False,
  view_size: int = 0,
) -> Task:
  """Builds the task of colorizing pictures: ab of Lab given the lightness L.

  x holds normalised ab, [B, ab_size, ab_size, 2], and cond normalised L,
  [B, image_size, image_size, 1]. With hints or features, cond is a dict of
  "lightness", "hints" [B, hints, hints, 3] and "features". `render` upsamples
  ab along the edges of L and keeps L: colours outside sRGB lose chroma, not
  lightness.

  Departure: ab is downsampled with anti-aliasing; the authors' code picks
  single pixels.

  Args:
    image_size: Side of the pictures, in pixels.
    ab_size: Side of the maps of ab, at most image_size.
    noise: "gaussian" adds N(0, noise_scale^2) to x, as the authors do for
      ImageNet; "uniform" adds noise_scale * U[0, 1) to x and to cond, as they
      do for LSUN.
    noise_scale: Size of the noise, in normalised units.
    detail_noise: For a pyramid that goes on beyond the size that the noise is
      meant for. With n numbers, white noise of `noise_scale` is added to ab at
      ab_size / 2^n cells, and then to the details of each finer size noise of
      these standard deviations, coarsest first, in units of an orthonormal Haar
      transform of ab at that size. x is the noisy ab of the finest size, so a
      likelihood is that of these numbers.
    hints: Number of cells on a side of the map of hints, see `tasks.hints`; 0
      for none. Training draws hints from the true colours without noise.
    hint_share: Share of the pictures that get hints in training.
    given_features: The records bring features of the classifier for L, which
      `data.views` has computed; cond passes them on.
    view_size: Side of the records' pictures if it is larger than image_size, as
      views of 128 pixels are for a network that sees L at 64; 0 if it is not.

  Raises:
    ValueError: if a size is out of range or does not fit, or the noise is
      unknown.
  """
  if noise not in ("gaussian", "uniform"):
    raise ValueError(f"noise must be 'gaussian' or 'uniform', got {noise!r}.")
  if not 0 < ab_size <= image_size:
    raise ValueError(
      f"ab_size must be from 1 to image_size ({image_size}), got {ab_size}."
    )

  if detail_noise and noise != "gaussian":
    raise ValueError("detail_noise takes noise='gaussian'.")
  if ab_size % 2 ** len(detail_noise):
    raise ValueError(
      f"detail_noise has {len(detail_noise)} numbers, so ab_size must be a"
      f" multiple of {2 ** len(detail_noise)}, got {ab_size}."
    )
  if hints and ab_size % hints:
    raise ValueError(f"hints must divide ab_size ({ab_size}), got {hints}.")
  if not 0 <= hint_share <= 1:
    raise ValueError(f"hint_share is from 0 to 1, got {hint_share}.")
  view_size = view_size or image_size
  if view_size % image_size:
    raise ValueError(
      f"view_size must be a multiple of image_size ({image_size}), got"
      f" {view_size}."
    )
  cond_shape = _cond_shape(image_size, hints, view_size * given_features)

  def prepare(batch):
    lab = color.srgb_to_lab(color.from_uint8(batch["image"]))
    ab = downsample(lab[..., 1:], (ab_size, ab_size))
    # Views bring the lightness of a print with another tone, see `data.views`.
    lightness = lab[..., :1]
    if "lightness" in batch:
      lightness = color.from_uint8(batch["lightness"]) * 100
    lightness = _block_means(lightness, view_size // image_size)
    lightness = normalize_lightness(lightness)
    return normalize_ab(ab), condition(lightness, batch)

  def condition(lightness, batch):
    if not isinstance(cond_shape, dict):
      return lightness
    cond = {"lightness": lightness}
    if hints:
      cond["hints"] = jnp.zeros((len(lightness), *cond_shape["hints"]))
    if given_features:
      cond["features"] = {
        rows: batch[f"features_{rows}"].astype(jnp.float32)
        for rows in cond_shape["features"]
      }
    return cond

  def add_noise(rng, x, cond):
    if hints:
      rng, hint_rng = jax.random.split(rng)
      means = _block_means(x, ab_size // hints)
      cond = {**cond, "hints": hint_maps.draw(hint_rng, means, hint_share)}
    if detail_noise:
      return x + _noise_of_bands(rng, x.shape, noise_scale, detail_noise), cond
    if noise == "gaussian":
      return x + noise_scale * jax.random.normal(rng, x.shape), cond
    x_rng, cond_rng = jax.random.split(rng)
    x = x + noise_scale * jax.random.uniform(x_rng, x.shape)
    lightness = lightness_of(cond)
    lightness = lightness + noise_scale * jax.random.uniform(
      cond_rng, lightness.shape
    )
    if isinstance(cond, dict):
      return x, {**cond, "lightness": lightness}
    return x, lightness

  def render(x, cond):
    lightness = denormalize_lightness(lightness_of(cond))
    guide = downsample(lightness, (ab_size, ab_size))
    ab = jax.vmap(bilateral.upsample)(
      denormalize_ab(x)[:, None], guide[..., 0], lightness[..., 0]
    )[:, 0]
    return color.lab_to_srgb(jnp.concatenate([lightness, ab], -1))

  noise_text = f"{noise} noise {noise_scale:g}"
  if detail_noise:
    sizes = [ab_size >> k for k in reversed(range(len(detail_noise) + 1))]
    noise_text += f" at {sizes[0]}x{sizes[0]}, of details " + ", ".join(
      f"{sd:g} at {size}x{size}"
      for size, sd in zip(sizes[1:], detail_noise, strict=True)
    )

  def condition_picture(cond):
    lightness = denormalize_lightness(lightness_of(cond))
    return color.lab_to_srgb(jnp.pad(lightness, [(0, 0)] * 3 + [(0, 2)]))

  return Task(
    prepare=prepare,
    add_noise=add_noise,
    render=render,
    condition_picture=condition_picture,
    image_size=image_size,
    event_shape=(ab_size, ab_size, 2),
    cond_shape=cond_shape,
    scales=AB_SCALES,
    description=(
      f"ab channels of normalised Lab at {ab_size}x{ab_size} given L at"
      f" {image_size}x{image_size}{' and hints' if hints else ''}, {noise_text}"
    ),
    condition_name="grey",
    units="Lab units",
    gaussian_noise=0.0 if noise != "gaussian" or detail_noise else noise_scale,
  )


def lightness_of(cond: Condition) -> Array:
  """Returns the normalised L of a condition, with or without other entries."""
  return cond["lightness"] if isinstance(cond, dict) else cond


def _cond_shape(image_size, hints, featured_size):
  lightness = (image_size, image_size, 1)
  if not hints and not featured_size:
    return lightness
  shapes = {"lightness": lightness}
  if hints:
    shapes["hints"] = (hints, hints, 3)
  if featured_size:
    shapes["features"] = features.shapes(featured_size)
  return shapes


def _block_means(x, side):
  if side == 1:
    return x
  b, height, width, c = x.shape
  blocks = x.reshape(b, height // side, side, width // side, side, c)
  return jnp.mean(blocks, axis=(2, 4))


def _noise_of_bands(rng, shape, scale, detail_scales):
  """Draws the noise of `detail_noise`; `shape` is that of x."""
  rng, own = jax.random.split(rng)
  b, height, width, c = shape
  n = 2 ** len(detail_scales)
  noise = scale * jax.random.normal(own, (b, height // n, width // n, c))
  haar = Haar(rebalance=1.0)
  for detail_scale in detail_scales:
    rng, own = jax.random.split(rng)
    details = jax.random.normal(own, (*noise.shape[:3], 3 * c))
    # The transform's mean of 2x2 numbers is twice theirs.
    bands = jnp.concatenate([2 * noise, detail_scale * details], -1)
    noise, _ = haar.apply({}, bands, method="inverse")
  return noise


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
