"""Quality of pictures drawn for a class, compared with real ones."""

import pathlib

import jax
import numpy as np

from cinn_jax.data import loader
from cinn_jax.data.base import Source
from cinn_jax.evaluation.by_task import class_metrics
from cinn_jax.evaluation.by_task.classifier import train_classifier
from cinn_jax.evaluation.tables import table
from cinn_jax.experiment.build import open_source
from cinn_jax.images import color, sheets, writing
from cinn_jax.runtime import processes
from cinn_jax.sampling import temperatures
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.over_split import draw_over_split
from cinn_jax.workdir.trained import Trained

_SHEET_PAIRS = 5
_BATCH_SIZE = 256


def evaluate(
  trained: Trained, source: Source, workdir: pathlib.Path, sampling: Sampling
) -> table.Evaluation:
  """Evaluates samples for the classes of the test pictures.

  The class of every test picture gets `sampling.num_samples` samples. One
  reference row is the test pictures themselves: their accuracy is that of the
  classifier. The other is the test pictures with the noise of training, which
  the model learns to draw too. Writes `neighbours.png`: samples of the first
  temperature, each with its nearest training picture.
  """
  task, seed = trained.task, sampling.seed
  training, classes = _read(open_source(trained.config, task, "train"), task)
  classify = train_classifier(training, classes, task.num_classes, seed=seed)
  nearest = class_metrics.make_nearest(training)
  truth, labels, *drawn = _draw(trained, source, sampling)

  def row(pictures, mark="reference"):
    return class_metrics.evaluate(
      pictures, labels, classify, nearest, mark=mark, seed=seed
    )

  rows = {
    temperatures.label("samples", temperature, sampling.temperatures): row(
      samples, "ours"
    )
    for temperature, samples in zip(sampling.temperatures, drawn, strict=True)
  }
  rows |= {
    "test pictures": row(truth[:, None]),
    "test pictures with noise": row(_with_noise(task, truth, labels, seed)),
  }
  path = workdir / "neighbours.png"
  sheet = _neighbours(drawn[0][:, 0], labels, training, nearest)
  if processes.is_first():
    writing.save_png(path, sheet)
  accuracy, _ = rows["test pictures"].metrics["accuracy"]
  return (
    rows,
    class_metrics.METRICS,
    [
      f"The classifier was trained on {len(training):,} pictures; its own"
      f" accuracy on the test pictures is {accuracy:.2f} %.",
      f"Samples and their nearest training pictures: {path}.",
    ],
  )


def _read(source, task):
  """Reads a labelled source as grey uint8 [N, S, S] and its labels [N]."""
  batches = loader.evaluation_batches(
    source, image_size=task.image_size, batch_size=_BATCH_SIZE
  )
  parts = [
    (as_grey(batch["image"][batch["mask"]]), batch["label"][batch["mask"]])
    for batch in batches
  ]
  grey, labels = zip(*parts, strict=True)
  return np.concatenate(grey), np.concatenate(labels)


def as_grey(images: np.ndarray) -> np.ndarray:
  """Converts RGB uint8 [B, S, S, 3] to grey uint8 [B, S, S], as the task does.

  Grey is the mean over the channels.
  """
  return np.round(images.mean(axis=-1)).astype(np.uint8)


def _draw(trained, source, sampling):
  """Draws grey samples for grey truth [N, S, S] and labels [N].

  Returns truth, labels, and the samples [N, n, S, S] of each temperature.
  """
  parts = [
    (as_grey(batch["image"]), batch["label"], *(s[..., 0] for s, _ in outcomes))
    for batch, _, outcomes in draw_over_split(trained, source, sampling)
  ]
  return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _with_noise(task, grey, labels, seed):
  """Returns grey pictures [N, 1, S, S] with the noise of training."""

  @jax.jit
  def add_noise(image, label):
    x, cond = task.prepare({"image": image, "label": label})
    x, cond = task.add_noise(jax.random.key(seed), x, cond)
    return color.to_uint8(task.render(x, cond))[..., 0]

  image = np.repeat(grey[..., None], 3, axis=-1)
  return np.asarray(add_noise(image, labels))[:, None]


def _neighbours(samples, labels, training, nearest):
  """Returns a sheet with a row per class: samples and nearest pictures."""
  rows, names = [], []
  for label in np.unique(labels):
    examples = samples[labels == label][:_SHEET_PAIRS]
    _, index = nearest(examples)
    pairs = zip(examples, training[index], strict=True)
    rows.append([_rgb(grey) for pair in pairs for grey in pair])
    names.append(str(label))
  columns = max(map(len, rows))
  titles = ["sample", "nearest"] * (columns // 2)
  return sheets.contact_sheet(
    rows, titles, names, note="nearest: the nearest training picture"
  )


def _rgb(grey):
  return np.repeat(grey[..., None], 3, axis=-1)
