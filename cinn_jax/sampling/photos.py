"""`--mode=sample` for colorization: photographs at their own resolution."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from cinn_jax import likelihood
from cinn_jax.images import full_resolution, reading, sheets, writing
from cinn_jax.runtime import storage, threads
from cinn_jax.sampling.draw import rank, ranked_at
from cinn_jax.sampling.inputs import find, unique_names
from cinn_jax.tasks.colorize import denormalize_ab, normalize_lightness
from cinn_jax.workdir.trained import restore

_THUMBNAIL = 256


def colorize_photos(
  workdir, inputs, outputs, *, num_samples=8, temperature=1.0, seed=0
):
  """Colorizes the photographs that match a pattern with a trained model.

  Each photograph keeps its own lightness, at its resolution and depth; the
  colours are sampled at the model's resolution and upsampled along the edges.
  Writes `<name>_<k>` per sample, most likely first: JPEG for a JPEG, 16-bit
  TIFF for a picture of more than 8 bits, else PNG; a contact sheet
  `sheet.png`; and `samples.json` with each sample's log-likelihood.

  A file that cannot be read is skipped, and said.

  Args:
    workdir: of a trained run.
    inputs: a glob pattern; ** matches folders.
    outputs: a folder, made if it is not there.
    num_samples, temperature, seed: of sampling.

  Raises:
    FileNotFoundError: without a trained checkpoint or a matching file.
    ValueError: where no matching file is a picture, or for another task.
  """
  paths = find(inputs)
  trained = _restore(workdir)
  sampler = _make_sampler(trained, num_samples)
  outputs = storage.path(outputs)
  rows, names, results, skipped = [], [], {}, []

  def draw(photograph):
    index, (path, name, photo) = photograph
    rng = jax.random.fold_in(jax.random.key(seed), index)
    return path, name, photo, *sampler(rng, photo, temperature)

  photographs = enumerate(_readable(paths, skipped))
  for path, name, photo, ab, bits in threads.in_order(draw, photographs):
    colored = full_resolution.colorize(photo, ab)
    files = _save(outputs, name, path, colored)
    results[path] = {"files": files, "bits_per_dim": bits.tolist()}
    rows.append(_thumbnails(photo, colored))
    names.append(name)
    height, width = photo.shape[:2]
    size = trained.task.image_size
    seen = "" if height == width else f"; the model saw it as {size}x{size}"
    print(f"{path}: {width}x{height}, {len(files)} samples{seen}")
  if not rows:
    raise ValueError(f"No usable image matches {inputs!r}: {skipped[0]}")
  sheet = sheets.contact_sheet(
    rows,
    ["grey", *(f"sample {k + 1}" for k in range(num_samples))],
    names,
    note=ranked_at(temperature),
  )
  writing.save_png(outputs / "sheet.png", sheet)
  facts = {"step": trained.step, "temperature": temperature, "seed": seed}
  told = {**facts, "skipped": skipped, "photos": results}
  storage.write_whole(outputs / "samples.json", json.dumps(told).encode())
  print(f"Wrote {outputs / 'sheet.png'} and {len(rows)} photographs' samples.")


def _readable(paths, skipped):
  """Yields (path, name, photo); says in `skipped` why others are not."""
  for path, name in zip(paths, unique_names(paths), strict=True):
    try:
      yield path, name, reading.decode(path, keep_depth=True)
    except reading.UnreadableImage as error:
      skipped.append(str(error))
      print(f"Skipped {error}")


def _restore(workdir):
  trained = restore(workdir)
  if trained.config["task"]["name"] != "colorize":
    raise ValueError(
      f"{workdir} was trained for {trained.config['task']['name']!r}; --inputs"
      " colorizes photographs with a 'colorize' run."
    )
  return trained


def _make_sampler(trained, num_samples):
  """`sampler(rng, photo, temperature) -> (ab [n, h, w, 2], bits/dim [n])`,
  ranked.
  """
  size = trained.task.image_size
  dims = int(np.prod(trained.task.event_shape))

  @jax.jit
  def draw(variables, rng, lightness, temperature):
    cond = normalize_lightness(lightness)[None, ..., None]
    x, log_prob = rank(
      *trained.flow.sample(variables, rng, cond, num_samples, temperature)
    )
    bits = likelihood.bits_per_dim(log_prob[0], dims)
    return denormalize_ab(x[0]), bits

  def sampler(rng, photo, temperature):
    lightness = full_resolution.lightness_thumbnail(photo, (size, size))
    ab, bits = draw(trained.variables, rng, jnp.asarray(lightness), temperature)
    return np.asarray(ab), np.asarray(bits)

  return sampler


def _save(outputs, name, path, colored):
  if colored.dtype == np.uint16:
    suffix = ".tif"
  elif pathlib.Path(path).suffix.lower() in (".jpg", ".jpeg"):
    suffix = ".jpg"
  else:
    suffix = ".png"
  files = []
  for k, picture in enumerate(colored):
    file = outputs / f"{name}_{k + 1}{suffix}"
    writing.save_photo(file, picture)
    files.append(file.name)
  return files


def _thumbnails(photo, colored):
  """The grey photograph and its colorizations, small, uint8."""
  small = [_thumbnail(picture) for picture in (photo, *colored)]
  lightness = full_resolution.lightness_thumbnail(small[0], small[0].shape[:2])
  grey = full_resolution.colorize(small[0], np.zeros((1, *lightness.shape, 2)))
  return [grey[0], *small[1:]]


def _thumbnail(picture):
  if picture.dtype == np.uint16:
    picture = (picture // 257).astype(np.uint8)
  image = Image.fromarray(picture)
  image.thumbnail((_THUMBNAIL, _THUMBNAIL))
  return np.asarray(image)
