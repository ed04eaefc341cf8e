"""Computes views of photographs with the classifier's features.

  python -m cinn_jax.data.prepare_views --path=photos.zip --output=views

The photographs are those of a folder or a zip file, sorted by name. Of twenty,
the first is for testing, the second for validation and the others for training.
With --held_out=2000,1000 the last 2,000 in the zip file's own order are for
testing, the 1,000 before them for validation. A training photograph is left out
if it nearly equals a held-out one, there or in the views of --unlike, or has no
colours. Training views are random crops, half of them mirrored, with the tone
of other prints (`views.tone`); held-out ones are the largest central squares as
they are. Train with them by --config.data.source=views
--config.data.path=views, or views,others for those of two folders.
"""

import pathlib
import time
import zipfile
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from PIL import Image
from tqdm import tqdm

from cinn_jax import cli
from cinn_jax.data import views
from cinn_jax.images import crops, reading

_SUFFIXES = (".jpg", ".jpeg", ".png")
_EVERY = 20
_BATCH = 32
# Root mean square of the difference of grey thumbnails, of 255 levels, below
# which two photographs are one.
_SAME = 5.0
# Largest difference of a pixel's red, green and blue in a grey picture.
_GREY = 8


class Photographs:
  """Photographs in a folder or a zip file.

  Args:
    path: The folder or file.
    limit: Most photographs of a split; 0 for all.
    held_out: Numbers of the last photographs in the file's order for testing,
      and of those before them for validation. (0, 0) takes every twentieth
      photograph, sorted by name, and the ones that follow these.

  Raises:
    ValueError: if there are none, or none for training.
  """

  def __init__(
    self, path: str, limit: int = 0, held_out: tuple[int, int] = (0, 0)
  ):
    self._root = pathlib.Path(path).expanduser()
    is_archive = path.endswith(".zip")
    self._archive = _archive(self._root) if is_archive else None
    if self._archive is not None:
      names = self._archive.namelist()
    else:
      files = self._root.rglob("*")
      names = sorted(str(file.relative_to(self._root)) for file in files)
    names = [name for name in names if _is_photograph(name)]
    self.names = names if any(held_out) else sorted(names)
    self._limit = limit or len(names)
    if not self.names:
      raise ValueError(f"{path} has no photographs ({', '.join(_SUFFIXES)}).")
    if sum(held_out) >= len(self.names):
      raise ValueError(
        f"--held_out asks for {sum(held_out):,} photographs, but {path} has"
        f" {len(self.names):,}; some must be left for training."
      )
    self._held_out = held_out

  def __getitem__(self, name: str) -> np.ndarray:
    if self._archive is None:
      return reading.decode(self._root / name)
    try:
      with reading.reasons(name):
        return reading.decode(self._archive.read(name))
    except reading.UnreadableImage as error:
      raise reading.UnreadableImage(name, error.reason) from error

  def splits(
    self, others: Sequence[np.ndarray] = ()
  ) -> tuple[dict[str, list[str]], int]:
    """Returns the names by split, and how many were left out of training.

    Args:
      others: More pictures [S, S, 3] that no training photograph should equal.

    Raises:
      UnreadableImage: if one of the photographs is damaged.
      ValueError: if none is left for training or for validation.
    """
    held = self._held()
    out = {name for names in held.values() for name in names}
    rest = [name for name in self.names if name not in out]
    thumbnails = [_thumbnail(self[name]) for name in out]
    known = np.stack([*thumbnails, *map(_thumbnail, others)])
    train: list[str] = []
    left_out = 0
    for name in tqdm(rest, unit="photograph", desc="comparing"):
      if len(train) == self._limit:
        break
      if _is_new(self[name], known):
        train.append(name)
      else:
        left_out += 1
    held = {split: names[: self._limit] for split, names in held.items()}
    if not train or not held["validation"]:
      raise ValueError(
        f"No photograph is left to {'validate' if train else 'train'} on, of"
        f" {len(self.names):,}; {left_out:,} are grey or nearly equal held-out"
        " ones. Add others, or change --held_out."
      )
    return {"train": train, **held}, left_out

  def _held(self) -> dict[str, list[str]]:
    if not any(self._held_out):
      return {"test": self.names[::_EVERY], "validation": self.names[1::_EVERY]}
    test, validation = (len(self.names) - n for n in self._held_out)
    validation -= self._held_out[0]
    return {
      "test": self.names[test:],
      "validation": self.names[validation:test],
    }


def _archive(path):
  try:
    return zipfile.ZipFile(path)
  except zipfile.BadZipFile as error:
    raise ValueError(f"{path} is not a zip file: {error}.") from None


def _is_photograph(name: str) -> bool:
  # Archives of some systems hold files of their own, such as __MACOSX/._a.jpg.
  is_hidden = pathlib.PurePath(name).name.startswith(".")
  return name.lower().endswith(_SUFFIXES) and not is_hidden


def _thumbnail(picture: np.ndarray) -> np.ndarray:
  small = Image.fromarray(picture).convert("L").resize((16, 16))
  return np.asarray(small, np.float32).reshape(-1)


def _is_new(picture: np.ndarray, known: np.ndarray) -> bool:
  if np.ptp(picture.astype(int), axis=-1).max() <= _GREY:
    return False
  difference = known - _thumbnail(picture)[None]
  return bool(np.mean(difference**2, 1).min() > _SAME**2)


def prepare(
  photographs: Photographs,
  output: str,
  *,
  unlike: Sequence[str] = (),
  num_views: int,
  size: int,
  min_scale: float,
  seed: int,
) -> Iterator[str]:
  """Writes the views of all splits; yields lines on what was done."""
  others = [
    image
    for path in unlike
    for split in ("test", "validation")
    for part in views.Views(path, split).parts
    for image in part["image"]
  ]
  splits, left_out = photographs.splits(others)
  yield (
    f"{left_out} training photographs nearly equal held-out ones or are grey:"
    " left out."
  )
  viewer = views.make_viewer(size)
  for split, names in splits.items():
    start, cpu = time.monotonic(), time.process_time()
    is_train = split == "train"
    each = num_views if is_train else 1
    count = each * len(names)
    writer = views.Writer(output, split, count, size)
    with tqdm(total=count, unit="view", desc=split) as bar:
      for first in range(0, count, _BATCH):
        rows = range(first, min(first + _BATCH, count))
        images = np.stack(
          [
            _crop(
              photographs[names[row % len(names)]],
              np.random.default_rng((seed, row)) if is_train else None,
              size,
              min_scale,
            )
            for row in rows
          ]
        )
        writer.write(_view(viewer, images, (seed, first), is_train))
        bar.update(len(rows))
    writer.close()
    yield (
      f"{split}: {count:,} views of {len(names):,} photographs in"
      f" {time.monotonic() - start:.0f} s,"
      f" {time.process_time() - cpu:.0f} s of processor."
    )


def _view(viewer, images, seed, toned):
  # Filled up, so that the last batch needs no compilation of its own.
  full = np.resize(images, (_BATCH, *images.shape[1:]))
  rng = jax.random.fold_in(jax.random.key(seed[0]), seed[1])
  entries = jax.device_get(viewer(rng, jnp.asarray(full), toned))
  return {name: rows[: len(images)] for name, rows in entries.items()}


def _crop(
  photo: np.ndarray,
  generator: np.random.Generator | None,
  size: int,
  min_scale: float,
) -> np.ndarray:
  height, width = photo.shape[:2]
  if generator is None:
    return crops.resize(photo, crops.central_box(width, height), size)
  box = crops.random_box(width, height, min_scale, generator)
  picture = crops.resize(photo, box, size)
  return picture[:, ::-1] if generator.integers(2) else picture


def _run():
  lines = prepare(
    Photographs(_PATH.value, _LIMIT.value, _held_out()),
    _OUTPUT.value,
    unlike=_UNLIKE.value,
    num_views=_VIEWS.value,
    size=_SIZE.value,
    min_scale=_MIN_SCALE.value,
    seed=_SEED.value,
  )
  for line in lines:
    print(line, flush=True)


def _held_out() -> tuple[int, int]:
  try:
    test, validation = (int(part) for part in _HELD_OUT.value)
  except ValueError:
    raise ValueError(
      "--held_out takes two numbers, as in --held_out=2000,1000, got"
      f" {','.join(_HELD_OUT.value)!r}."
    ) from None
  return test, validation


if __name__ == "__main__":
  # Only here: other commands have flags of these names.
  _PATH = flags.DEFINE_string("path", None, "A folder or zip of photographs.")
  _OUTPUT = flags.DEFINE_string("output", None, "The folder for the views.")
  _VIEWS = flags.DEFINE_integer("views", 2, "Views of a training photograph.")
  _SIZE = flags.DEFINE_integer("size", 128, "Side of a view, in pixels.")
  _MIN_SCALE = flags.DEFINE_float("min_scale", 0.4, "Smallest area of a crop.")
  _SEED = flags.DEFINE_integer("seed", 0, "Seed of crops and tones.")
  _LIMIT = flags.DEFINE_integer(
    "limit", 0, "Most photographs of a split; 0: all."
  )
  _HELD_OUT = flags.DEFINE_list(
    "held_out", ["0", "0"], "Numbers of photographs to test and to validate on."
  )
  _UNLIKE = flags.DEFINE_list(
    "unlike", [], "Folders of views whose held-out pictures are left out."
  )
  cli.run(_run, required=["path", "output"])
