"""What pictures drawn for a class are worth, beside real ones."""

import jax
import numpy as np

from cinn_jax.data import loader
from cinn_jax.evaluation.by_task import class_metrics
from cinn_jax.evaluation.by_task.classifier import train_classifier
from cinn_jax.experiment.build import open_source
from cinn_jax.images import color, sheets, writing
from cinn_jax.runtime import processes
from cinn_jax.sampling.over_split import draw_over_split

_SHEET_PAIRS = 5
_READ = 256


def evaluate(trained, source, workdir, *, num_samples, temperature, seed):
  """Rows of drawn pictures; see `evaluation.evaluate` for what is returned.

  As many pictures are drawn for each test picture's class. Reference rows: the
  test pictures themselves, whose accuracy is the classifier's own, and with the
  noise of training on them, which the model learns to draw too. Writes
  `neighbours.png`: pictures drawn, and the nearest training picture of each.
  """
  task = trained.task
  source = open_source(trained.config, task, "train")
  training, classes = _read(source, task)
  classify = train_classifier(training, classes, task.num_classes, seed=seed)
  nearest = class_metrics.make_nearest(training)
  truth, samples, labels = _draw(
    trained, source, num_samples, temperature, seed
  )

  def row(shown, mark="reference"):
    return class_metrics.evaluate(
      shown, labels, classify, nearest, mark, seed=seed
    )

  rows = {
    "samples": row(samples, "ours"),
    "test pictures": row(truth[:, None]),
    "test pictures with noise": row(_with_noise(task, truth, labels, seed)),
  }
  path = workdir / "neighbours.png"
  sheet = _neighbours(samples[:, 0], labels, training, nearest)
  if processes.is_first():
    writing.save_png(path, sheet)
  accuracy, _ = rows["test pictures"].metrics["accuracy"]
  return (
    rows,
    class_metrics.METRICS,
    [
      f"The classifier was trained on {len(training):,} pictures; its own"
      f" accuracy on the test pictures is {accuracy:.2f} %.",
      f"Pictures drawn, and their nearest training pictures: {path}.",
    ],
  )


def _read(source, task):
  """A labelled source as grey uint8 [N, S, S] and its labels [N]."""
  batches = loader.evaluation_batches(
    source, image_size=task.image_size, batch_size=_READ
  )
  parts = [
    (as_grey(batch["image"][batch["mask"]]), batch["label"][batch["mask"]])
    for batch in batches
  ]
  grey, labels = zip(*parts, strict=True)
  return np.concatenate(grey), np.concatenate(labels)


def as_grey(images):
  """As the task sees pictures: uint8 [B, S, S, 3] to [B, S, S]."""
  return np.round(images.mean(axis=-1)).astype(np.uint8)


def _draw(trained, source, num_samples, temperature, seed):
  """Grey truth [N, S, S] and samples [N, n, S, S] with their labels [N]."""
  parts = [
    (as_grey(batch["image"]), samples[..., 0], batch["label"])
    for batch, _, samples, _ in draw_over_split(
      trained,
      source,
      num_samples=num_samples,
      temperature=temperature,
      seed=seed,
    )
  ]
  return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _with_noise(task, grey, labels, seed):
  """Grey pictures [N, 1, S, S] as the model was shown them in training."""

  @jax.jit
  def noisy(image, label):
    x, cond = task.prepare({"image": image, "label": label})
    x, cond = task.add_noise(jax.random.key(seed), x, cond)
    return color.to_uint8(task.render(x, cond))[..., 0]

  image = np.repeat(grey[..., None], 3, axis=-1)
  return np.asarray(noisy(image, labels))[:, None]


def _neighbours(samples, labels, training, nearest):
  """A sheet, one row per class: drawn pictures, each beside its nearest."""
  rows, names = [], []
  for label in np.unique(labels):
    chosen = samples[labels == label][:_SHEET_PAIRS]
    _, index = nearest(chosen)
    pairs = zip(chosen, training[index], strict=True)
    rows.append([_rgb(grey) for pair in pairs for grey in pair])
    names.append(str(label))
  columns = max(map(len, rows))
  titles = ["drawn", "nearest"] * (columns // 2)
  return sheets.contact_sheet(
    rows, titles, names, note="nearest: of the training pictures"
  )


def _rgb(grey):
  return np.repeat(grey[..., None], 3, axis=-1)
