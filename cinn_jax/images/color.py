"""sRGB and CIE Lab, in jax.numpy.

Colours are arrays `[..., 3]`. sRGB channels lie in [0, 1], gamma encoded. Lab
is CIE 1976 under D65 and the 2 degree observer, with L in [0, 100] and a, b
in about [-110, 110]. The constants are those of scikit-image, and the results
agree with it to 1e-3 over the whole sRGB cube. float32 and float64 keep their
type. Everything is differentiable, with finite gradients even at black and
white.

Not every Lab triple is an sRGB colour; `lab_to_srgb` describes the choices.
"""

import jax
import jax.numpy as jnp
import numpy as np

GAMUTS = ("chroma", "clip")

_WHITE = np.array([0.95047, 1.0, 1.08883])
_RGB_TO_XYZ = np.array(
  [
    [0.412453, 0.357580, 0.180423],
    [0.212671, 0.715160, 0.072169],
    [0.019334, 0.119193, 0.950227],
  ]
)
# Python floats are weakly typed: float32 colours stay float32.
_TO_RELATIVE_XYZ = (_RGB_TO_XYZ / _WHITE[:, None]).tolist()
_FROM_RELATIVE_XYZ = (np.linalg.inv(_RGB_TO_XYZ) * _WHITE[None]).tolist()

# Linear light by which rounding may push a colour out of the sRGB cube.
_TOLERANCE = 1e-5
# Halvings before the last step, which is linear. What then still lies outside
# the cube is clipped; it is about a tenth of an 8-bit level at most.
_HALVINGS = 6


def srgb_to_lab(rgb: jax.Array) -> jax.Array:
  """Converts sRGB `[..., 3]` in [0, 1] to Lab `[..., 3]`, L in [0, 100]."""
  light = [_decode(channel) for channel in _channels(rgb, "sRGB")]
  x, y, z = (_compress(_dot(row, light)) for row in _TO_RELATIVE_XYZ)
  return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def srgb_to_lightness(rgb: jax.Array) -> jax.Array:
  """Returns the L in [0, 100] of sRGB `[..., 3]` in [0, 1], as `[...]`."""
  light = [_decode(channel) for channel in _channels(rgb, "sRGB")]
  return 116 * _compress(_dot(_TO_RELATIVE_XYZ[1], light)) - 16


def lab_to_srgb(lab: jax.Array, gamut: str = "chroma") -> jax.Array:
  """Converts Lab `[..., 3]` to sRGB `[..., 3]` in [0, 1].

  Colours inside the sRGB gamut are converted exactly. For the others:

  * `gamut="chroma"` keeps lightness and hue. It moves (a, b) on a straight line
    towards grey, only as far as needed. L above 100 gives white, L below 0
    black.
  * `gamut="clip"` clips the sRGB channels, as scikit-image does. This changes
    lightness and hue, and vivid colours by much.

  Raises:
    ValueError: for another shape, type or gamut.
  """
  return jnp.stack(lab_planes_to_srgb(*_channels(lab, "Lab"), gamut), axis=-1)


def lab_planes_to_srgb(
  lightness: jax.Array, a: jax.Array, b: jax.Array, gamut: str = "chroma"
) -> list[jax.Array]:
  """Converts three arrays of one shape to the list r, g, b.

  This is `lab_to_srgb` without a last axis of three, which is slow on CPUs.
  """
  if gamut not in GAMUTS:
    raise ValueError(
      f"unknown gamut handling {gamut!r}: pass one of {', '.join(GAMUTS)}"
    )
  if gamut == "chroma":
    scale = _chroma_scale(lightness, a, b)
    a, b = scale * a, scale * b
  light = _lab_to_light(lightness, a, b)
  return [_encode(jnp.clip(channel, 0, 1)) for channel in light]


def from_uint8(image: jax.Array) -> jax.Array:
  """Converts uint8 in [0, 255] to float32 in [0, 1]."""
  if image.dtype != jnp.uint8:
    raise ValueError(
      f"expected uint8 pixels, got {image.dtype}: floating point colours in "
      "[0, 1] need no conversion"
    )
  return jnp.asarray(image, jnp.float32) / 255


def to_uint8(rgb: jax.Array) -> jax.Array:
  """Converts colours to uint8: clips them to [0, 1], scales and rounds."""
  return jnp.round(jnp.clip(rgb, 0, 1) * 255).astype(jnp.uint8)


def _channels(colors, name):
  colors = jnp.asarray(colors)
  if colors.ndim == 0 or colors.shape[-1] != 3:
    raise ValueError(f"expected {name} of shape [..., 3], got {colors.shape}")
  if not jnp.issubdtype(colors.dtype, jnp.floating):
    raise ValueError(
      f"expected floating point {name}, got {colors.dtype}: convert pixels "
      "with from_uint8 first"
    )
  return colors[..., 0], colors[..., 1], colors[..., 2]


def _dot(weights, channels):
  # Unlike a matrix product, this stays float32 on a TPU and can be fused.
  return sum(w * c for w, c in zip(weights, channels, strict=True))


def _power(positive, exponent):
  # Several times faster than ** and cbrt on XLA:CPU, and accurate to 2e-6 in
  # float32, which is well within half a 16-bit level.
  return jnp.exp(exponent * jnp.log(positive))


# The curves below are linear near zero. The argument of each power is clamped
# to the power's side, because the gradient of the unused branch must be finite
# too.


def _decode(encoded):
  """Converts a gamma encoded channel to linear light, both in [0, 1]."""
  power = _power((jnp.maximum(encoded, 0.04045) + 0.055) / 1.055, 2.4)
  return jnp.where(encoded > 0.04045, power, encoded / 12.92)


def _encode(light):
  power = 1.055 * _power(jnp.maximum(light, 0.0031308), 1 / 2.4) - 0.055
  return jnp.where(light > 0.0031308, power, 12.92 * light)


def _compress(relative):
  """Converts X, Y or Z, relative to white, to a scale linear in Lab."""
  root = _power(jnp.maximum(relative, 0.008856), 1 / 3)
  return jnp.where(relative > 0.008856, root, 7.787 * relative + 16 / 116)


def _expand(compressed):
  cube = compressed * compressed * compressed
  toe = (compressed - 16 / 116) / 7.787
  return jnp.where(compressed > 0.2068966, cube, toe)


def _lab_to_light(lightness, a, b):
  """Converts planes of Lab to linear light, in [0, 1] inside the gamut."""
  y = (lightness + 16) / 116
  # No colour has a negative Z; scikit-image clips here too.
  z = jnp.maximum(y - b / 200, 0)
  relative = [_expand(y + a / 500), _expand(y), _expand(z)]
  return [_dot(row, relative) for row in _FROM_RELATIVE_XYZ]


def _chroma_scale(lightness, a, b):
  """Returns the factor in [0, 1] that brings (a, b) into the gamut."""

  def margin(scale, lightness, a, b):
    # Distance to the nearest face of the cube; negative outside.
    light = _lab_to_light(lightness, scale * a, scale * b)
    return jnp.minimum(
      jnp.minimum(jnp.minimum(light[0], light[1]), light[2]),
      1 - jnp.maximum(jnp.maximum(light[0], light[1]), light[2]),
    )

  fixed = jax.lax.stop_gradient((lightness, a, b))
  inside = margin(1.0, *fixed) >= -_TOLERANCE
  low, width = jnp.zeros_like(lightness), 1.0
  for _ in range(_HALVINGS):
    width /= 2
    middle = low + width
    low = jnp.where(margin(middle, *fixed) >= 0, middle, low)
  # Linear interpolation between the last two points adds accuracy and carries
  # the gradient: the points are constants, the crossing depends on the colour.
  below = margin(low, lightness, a, b)
  above = margin(low + width, lightness, a, b)
  safe = below - above > 1e-6
  drop = jnp.where(safe, below - above, 1)
  step = jnp.where(safe, jnp.clip(below, 0, drop), 0)
  # The division comes last: in front of a cheaper operation, XLA:CPU would
  # repeat the whole computation in each user of the result.
  return jnp.where(inside, drop, low * drop + width * step) / drop
