"""`--mode=sample` for tasks on whole pictures: several answers to each."""

import functools
import json
import math
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from cinn_jax import likelihood
from cinn_jax.experiment.build import build
from cinn_jax.images import crops, reading, sheets, writing
from cinn_jax.images.crops import height_and_width
from cinn_jax.runtime import storage
from cinn_jax.sampling.draw import make_sampler, rank, ranked_at
from cinn_jax.sampling.inputs import find, unique_names
from cinn_jax.workdir.trained import restore

TASKS = ("colorize_rgb", "inpaint", "sketch", "super_resolution")
# Test pictures that stand in for --inputs.
_SHOWN = 8
# The ending of a file that says where the hole of the one beside it is.
_HOLE = "_hole"


# Pixels of all samples of one picture, which are drawn at once.
_MAX_PIXELS = 2**22


class _Given(NamedTuple):
  """One picture to answer.

  Attributes:
    name: of its results.
    batch: of one record.
    truth: uint8 [H, W, 3], where it is known.
    size: (H, W) that counts of the samples, from the top left.
  """

  name: str
  batch: dict[str, Any]
  truth: np.ndarray | None
  size: tuple[int, int]


def sample_pictures(
  workdir,
  inputs,
  outputs,
  *,
  num_samples=8,
  temperature=1.0,
  seed=0,
  degrade=False,
):
  """Draws several answers to each picture with a trained model.

  `inputs` are the pictures that are given: to a run of super-resolution the
  small ones, each enlarged as many times as the run learned; to
  one of sketches the sketches; to one of inpainting the pictures, with their
  holes, white on black, in `<name>_hole.png` beside them, or else the run's own
  kind of hole. All but the small ones are cut and resized to the run's size.

  Writes `<name>_<k>.png` per sample, most likely first; a contact sheet
  `sheet.png`; and `samples.json` with each sample's bits/dim. A file that
  cannot be read is skipped, and said.

  Args:
    workdir: of a trained run.
    inputs: a glob pattern; None: some pictures of the run's test split.
    outputs: a folder, made if it is not there.
    num_samples, temperature, seed: of sampling.
    degrade: the inputs are whole pictures, of which the small one or the sketch
      is made first, as in training.

  Raises:
    FileNotFoundError: without a trained checkpoint or a matching file.
    ValueError: where no matching file is a picture to answer, or for another
      task.
  """
  paths = find(inputs) if inputs else None
  trained = restore(workdir)
  task = trained.config["task"]["name"]
  if task not in TASKS:
    raise ValueError(
      f"{workdir} was trained for {task!r}: pass the --config of that run."
    )
  skipped = []
  if paths is None:
    given = _test_pictures(trained)
  else:
    given = _read(trained, paths, degrade, num_samples, skipped)
  outputs = storage.path(outputs)
  draw = _drawer(trained, num_samples)
  rows, names, results = [], [], {}
  for picture in given:
    rng = jax.random.fold_in(jax.random.key(seed), len(rows))
    shown, samples, bits = draw(rng, picture.batch, temperature)
    shown = _cut(shown, picture.size, samples.shape[1:3])
    height, width = picture.size
    samples = samples[:, :height, :width]
    for k, sample in enumerate(samples):
      writing.save_png(outputs / f"{picture.name}_{k + 1}.png", sample)
    truth = [] if picture.truth is None else [picture.truth]
    rows.append([shown, *truth, *samples])
    names.append(picture.name)
    results[picture.name] = {"bits_per_dim": bits.tolist()}
  if not rows:
    raise ValueError(f"No usable image matches {inputs!r}: {skipped[0]}")
  # The name of a condition tells its size; small pictures have their own.
  any_size = task == "super_resolution" and paths is not None and not degrade
  given_name = "given" if any_size else trained.task.condition_name
  titles = ["truth"] if len(rows[0]) > num_samples + 1 else []
  titles += [f"sample {k + 1}" for k in range(num_samples)]
  sheet = sheets.contact_sheet(
    rows,
    [given_name, *titles],
    names,
    note=ranked_at(temperature),
  )
  writing.save_png(outputs / "sheet.png", sheet)
  facts = {"step": trained.step, "temperature": temperature, "seed": seed}
  told = json.dumps({**facts, "skipped": skipped, "pictures": results})
  storage.write_whole(outputs / "samples.json", told.encode())
  print(
    f"Wrote {outputs / 'sheet.png'} and {num_samples} samples for each of"
    f" {len(rows)} pictures."
  )


def _test_pictures(trained):
  batch = trained.pictures("test", _SHOWN)
  for k, image in enumerate(batch["image"]):
    one = {name: values[k : k + 1] for name, values in batch.items()}
    yield _Given(f"test_{k + 1}", one, image, image.shape[:2])


def _read(trained, paths, degrade, num_samples, skipped):
  """The readable pictures, one after the other."""
  if trained.config["task"]["name"] == "inpaint":
    paths = [path for path in paths if not _is_hole(path)]
    if not paths:
      raise ValueError(
        "--inputs matches holes alone: name the pictures that they lie beside."
      )
  for path, name in zip(paths, unique_names(paths), strict=True):
    try:
      picture = reading.decode(path)
      task = trained.config["task"]
      if task["name"] == "super_resolution" and not degrade:
        yield _enlarged(task, path, name, picture, num_samples)
      else:
        yield _whole(task, path, name, picture, degrade)
    except reading.UnreadableImage as error:
      skipped.append(str(error))
      print(f"Skipped {error}")


def _whole(task, path, name, picture, degrade):
  """A picture of the run's size, or a sketch of that size."""
  fitted = _fitted(picture, task["image_size"])
  batch, truth = {"image": fitted[None]}, fitted
  if task["name"] == "sketch" and not degrade:
    batch["condition"], truth = fitted[None], None
  if task["name"] == "inpaint" and (hole := _hole_of(path)):
    mask = reading.decode(hole)
    if mask.shape != picture.shape:
      raise reading.UnreadableImage(
        hole,
        f"a hole of {_size(mask)} pixels for a picture of {_size(picture)}",
      )
    batch["hole"] = _fitted(mask, task["image_size"])[None]
  return _Given(name, batch, truth, fitted.shape[:2])


def _enlarged(task, path, name, small, num_samples):
  """A small picture of any size, extended to one that can be halved as often
  as those of the training."""
  scale = task["scale"]
  height, width = (scale * side for side in small.shape[:2])
  if height * width * num_samples > _MAX_PIXELS:
    raise reading.UnreadableImage(
      path,
      f"{num_samples} samples of {width}x{height} are more than"
      f" {_MAX_PIXELS:,} pixels: make it smaller, ask for fewer by"
      " --num_samples, or pass --degrade",
    )
  trained_on = height_and_width(task["image_size"])
  multiple = min(side & -side for side in trained_on) // scale or 1
  extra = [(0, -side % multiple) for side in small.shape[:2]]
  small = np.pad(small, (*extra, (0, 0)), mode="edge")
  shape = [scale * side for side in small.shape[:2]]
  batch = {
    "image": np.zeros((1, *shape, 3), np.uint8),
    "condition": small[None],
  }
  return _Given(name, batch, None, (height, width))


def _cut(shown, size, whole):
  """What is given [h, w, 3], without what was added to it; it may be smaller
  than the samples, of which `size` counts of `whole`."""
  height, width = (
    count * side // full
    for count, side, full in zip(size, shown.shape[:2], whole, strict=True)
  )
  return shown[:height, :width]


def _fitted(picture, image_size):
  height, width = height_and_width(image_size)
  box = crops.central_box(picture.shape[1], picture.shape[0], width / height)
  return crops.resize(picture, box, (height, width))


def _size(picture):
  return f"{picture.shape[1]}x{picture.shape[0]}"


def _is_hole(path):
  stem = pathlib.Path(path).stem
  return stem.endswith(_HOLE) and bool(_beside(path, stem[: -len(_HOLE)]))


def _hole_of(path):
  return _beside(path, pathlib.Path(path).stem + _HOLE)


def _beside(path, stem):
  """The picture of that name in the folder of `path`, or None."""
  files = sorted(pathlib.Path(path).parent.iterdir())
  return next(
    (
      str(file)
      for file in files
      if file.stem == stem and file.suffix.lower() in reading.EXTENSIONS
    ),
    None,
  )


def _drawer(trained, num_samples):
  """`draw(rng, batch, temperature) -> (given, samples [n, H, W, 3], bits/dim)`.

  Of a batch of one record, most likely first.
  """

  @functools.cache
  def sampler_of(shape):
    """For pictures of a shape, which need not be the run's."""
    config = dict(trained.config)
    config["task"] = {**config["task"], "image_size": shape}
    flow, task = build(config)
    sampler = make_sampler(flow, task, num_samples=num_samples)
    return jax.jit(sampler), math.prod(task.event_shape)

  def draw(rng, batch, temperature):
    sampler, dims = sampler_of(batch["image"].shape[1:3])
    shown, samples, log_prob = sampler(
      trained.variables, rng, batch, temperature
    )
    samples, log_prob = rank(samples, log_prob)
    bits = likelihood.bits_per_dim(log_prob[0], dims)
    return np.asarray(shown[0]), np.asarray(samples[0]), np.asarray(bits)

  return draw
