"""Views: crops of photographs with the classifier's features, computed once.

A folder has one subfolder per split, with arrays of NumPy that are mapped into
memory, a row per view:

  image         uint8 [N, S, S, 3], the crop
  lightness     uint8 [N, S, S, 1], its L in 255ths of 100, as an old or a badly
                made print might have it
  features_R    float16 [N, R, R, C], the features of that lightness

`prepare_views` makes them.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.bijections.base import Array
from cinn_jax.data import base
from cinn_jax.images import color
from cinn_jax.models.networks import features

_LISTING = "listing_hash.txt"


class Views:
  """A split of one or more folders of views; `self[i]` has one view's entries.

  Args:
    path: The folder, or several with commas between them.
    split: "train", "validation" or "test".

  Attributes:
    is_cut: True: a further crop would part a picture from its features.

  Raises:
    FileNotFoundError: if a folder holds no views.
    ValueError: if the views of two folders differ in size.
  """

  is_cut = True

  def __init__(self, path: str, split: str):
    folders = [
      pathlib.Path(part).expanduser() / split for part in path.split(",")
    ]
    for folder in folders:
      if not (folder / _LISTING).is_file():
        raise FileNotFoundError(
          f"{folder} holds no views: python -m cinn_jax.data.prepare_views"
          f" --path=PHOTOGRAPHS --output={folder.parent}"
        )
    self.parts = [
      {
        file.stem: np.load(file, mmap_mode="r")
        for file in sorted(folder.glob("*.npy"))
      }
      for folder in folders
    ]
    shapes = [{n: a.shape[1:] for n, a in p.items()} for p in self.parts]
    if any(shape != shapes[0] for shape in shapes):
      raise ValueError(
        f"The views of {path} differ: they need the same --size of"
        " cinn_jax.data.prepare_views."
      )
    # Rows before each part, and in all.
    self._starts = np.cumsum([0, *(len(p["image"]) for p in self.parts)])
    hashes = [(folder / _LISTING).read_text().strip() for folder in folders]
    self.listing_hash = (
      hashes[0] if len(hashes) == 1 else base.hash_parts(hashes)
    )
    self.name = f"{', '.join(map(str, folders))} ({len(self):,} views)"

  def __len__(self) -> int:
    return int(self._starts[-1])

  def __getitem__(self, index: int) -> dict[str, Any]:
    if not 0 <= index < len(self):
      raise IndexError(index)
    part = int(np.searchsorted(self._starts, index, "right")) - 1
    row = index - self._starts[part]
    return {n: np.array(rows[row]) for n, rows in self.parts[part].items()}

  def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the views of these rows, stacked."""
    views = [self[int(row)] for row in rows]
    return {name: np.stack([v[name] for v in views]) for name in views[0]}


class Writer:
  """Writes the views of a split, batch by batch; `close` completes it.

  Args:
    path: The folder of all splits.
    split: "train", "validation" or "test".
    count: Number of views.
    size: Side of a view in pixels.
  """

  def __init__(
    self, path: str | pathlib.Path, split: str, count: int, size: int
  ):
    self._folder = pathlib.Path(path).expanduser() / split
    self._folder.mkdir(parents=True, exist_ok=True)
    # Without its listing, an earlier split is not read any more.
    (self._folder / _LISTING).unlink(missing_ok=True)
    for old in self._folder.glob("*.npy"):
      old.unlink()
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
      "image": (np.uint8, (size, size, 3)),
      "lightness": (np.uint8, (size, size, 1)),
    }
    for rows, shape in features.shapes(size).items():
      shapes[f"features_{rows}"] = (np.float16, shape)
    self._arrays = {
      name: np.lib.format.open_memmap(
        self._folder / f"{name}.npy", "w+", dtype, (count, *shape)
      )
      for name, (dtype, shape) in shapes.items()
    }
    self._done = 0
    self._hashes: list[bytes | str] = []

  def write(self, views: dict[str, np.ndarray]) -> None:
    """Appends views; the arrays have the names of the files."""
    stop = self._done + len(views["image"])
    for name, array in self._arrays.items():
      array[self._done : stop] = views[name]
    self._hashes.append(views["image"].tobytes())
    self._hashes = [base.hash_parts(self._hashes)]
    self._done = stop

  def close(self) -> None:
    """Completes the split; before that it is not read."""
    for array in self._arrays.values():
      array.flush()
    (self._folder / _LISTING).write_text(base.hash_parts(self._hashes) + "\n")


def make_viewer(
  size: int, weights: str = ""
) -> Callable[[Array, Array, bool], dict[str, Array]]:
  """Returns `view(rng, images, toned) -> entries` for uint8 [B, size, size, 3].

  Args:
    size: Side of a view in pixels.
    weights: See `features.EfficientNetLite0`.
  """
  network = features.LightnessFeatures(weights, offset=0.0, scale=100.0)
  variables = jax.jit(network.init)(
    jax.random.key(0), jnp.zeros((1, size, size, 1))
  )

  def view(variables, rng, images, toned):
    lightness = color.srgb_to_lightness(color.from_uint8(images)) / 100
    if toned:
      keys = jax.random.split(rng, len(images))
      lightness = jax.vmap(tone)(keys, lightness)
    levels = color.to_uint8(lightness)[..., None]
    maps = network.apply(variables, color.from_uint8(levels))
    entries = {"image": images, "lightness": levels}
    for rows, values in maps.items():
      entries[f"features_{rows}"] = values.astype(jnp.float16)
    return entries

  compiled = jax.jit(view, static_argnums=3)
  return lambda rng, images, toned: compiled(variables, rng, images, toned)


def tone(rng: Array, lightness: Array) -> Array:
  """Changes a lightness [H, W] in [0, 1] as old prints and scans do.

  Three of ten pictures stay as they are. In the others, each of these happens
  to half: a blur, another gamma, another contrast and brightness, and grain.
  """
  keys = jax.random.split(rng, 10)
  stays = jax.random.uniform(keys[0]) < 0.3

  def half(key):
    return jax.random.bernoulli(key) & ~stays

  def number(key, low, high):
    return jax.random.uniform(key, minval=low, maxval=high)

  sd = jnp.where(half(keys[1]), number(keys[2], 0.4, 1.2), 1e-3)
  kernel = jnp.exp(-0.5 * (jnp.arange(-3.0, 4.0) / sd) ** 2)
  kernel /= jnp.sum(kernel)
  blurred = jnp.pad(lightness, 3, mode="edge")
  blurred = jnp.apply_along_axis(jnp.convolve, 0, blurred, kernel, mode="valid")
  blurred = jnp.apply_along_axis(jnp.convolve, 1, blurred, kernel, mode="valid")
  gamma = jnp.exp(jnp.where(half(keys[3]), number(keys[4], -0.4, 0.4), 0.0))
  power = jnp.clip(blurred, 1e-4, 1) ** gamma
  changes = half(keys[5])
  contrast = jnp.where(changes, number(keys[6], 0.6, 1.15), 1.0)
  shift = jnp.where(changes, number(keys[7], -0.1, 0.1), 0.0)
  mean = jnp.mean(power)
  spread = mean + contrast * (power - mean) + shift
  grain = jnp.where(half(keys[8]), number(keys[9], 0.005, 0.04), 0.0)
  noise = jax.random.normal(jax.random.fold_in(rng, 0), lightness.shape)
  return jnp.clip(spread + grain * noise, 0, 1)
