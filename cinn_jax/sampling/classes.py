"""`--mode=sample` for runs without photographs to start from: by class."""

import json

import jax
import numpy as np

from cinn_jax import likelihood
from cinn_jax.data import color_mnist, loader
from cinn_jax.experiment.build import open_source
from cinn_jax.images import sheets, writing
from cinn_jax.images.crops import height_and_width
from cinn_jax.runtime import storage
from cinn_jax.sampling.draw import make_sampler, rank, ranked_at
from cinn_jax.workdir.trained import restore

_READ = 64
# Where there are no classes, so many rows of samples.
_ROWS = 8


def sample_classes(
  workdir, inputs, outputs, *, num_samples=8, temperature=1.0, seed=0
):
  """Draws pictures of every class with a trained model.

  What is given is the class, or, to a run that colours digits, the first test
  picture of each class. A run without classes draws eight rows of pictures.

  Writes `<class>_<k>.png` per sample, most likely first; a contact sheet
  `sheet.png`, one row per class; and `samples.json` with the classes and each
  sample's bits/dim.

  Args:
    workdir: of a trained run.
    inputs: must be None: photographs are for other tasks.
    outputs: a folder, made if it is not there.
    num_samples, temperature, seed: of sampling.

  Raises:
    FileNotFoundError: without a trained checkpoint.
    ValueError: for inputs, or a run of another task.
  """
  if inputs:
    raise ValueError(
      f"--inputs={inputs!r} is for tasks that start from photographs; this run"
      " draws pictures of its classes, or of nothing: leave it out."
    )
  trained = restore(workdir)
  name = trained.config["task"]["name"]
  if name not in CLASSES:
    raise ValueError(
      f"{workdir} was trained for {name!r}: pass the --config of that run."
    )
  batch = CLASSES[name](trained)
  given, samples, bits = _draw(trained, batch, num_samples, temperature, seed)
  outputs = storage.path(outputs)
  labels = batch["label"].tolist()
  for label, row in zip(labels, samples, strict=True):
    for k, picture in enumerate(row):
      writing.save_png(outputs / f"{label}_{k + 1}.png", picture)
  titles = [f"sample {k + 1}" for k in range(num_samples)]
  sheet = sheets.contact_sheet(
    [[g, *row] for g, row in zip(given, samples, strict=True)],
    [trained.task.condition_name, *titles],
    note=ranked_at(temperature),
  )
  writing.save_png(outputs / "sheet.png", sheet)
  facts = {"step": trained.step, "temperature": temperature, "seed": seed}
  told = json.dumps({**facts, "labels": labels, "bits_per_dim": bits.tolist()})
  storage.write_whole(outputs / "samples.json", told.encode())
  print(
    f"Wrote {outputs / 'sheet.png'} and {samples[:, :, 0, 0, 0].size} PNGs."
  )


def _labels(trained):
  """A batch of all classes: of the records, only their labels count."""
  classes = trained.task.num_classes or _ROWS
  height, width = height_and_width(trained.task.image_size)
  return {
    "image": np.zeros((classes, height, width, 3), np.uint8),
    "label": np.arange(classes, dtype=np.int32),
  }


def _first_of_each(trained):
  """A batch of the first test picture of each class, in their order."""
  records = {}
  source = open_source(trained.config, trained.task, "test")
  for batch in loader.evaluation_batches(
    source, image_size=trained.task.image_size, batch_size=_READ
  ):
    for row in np.flatnonzero(batch.pop("mask")):
      record = {name: values[row] for name, values in batch.items()}
      records.setdefault(int(record["label"]), record)
    if len(records) == len(color_mnist.PAIRS):
      break
  ordered = [records[label] for label in sorted(records)]
  return {
    name: np.stack([record[name] for record in ordered]) for name in ordered[0]
  }


# By task: what samples of every class are drawn from.
CLASSES = {
  "class_conditional": _labels,
  "color_mnist": _first_of_each,
  "generate": _labels,
}


def _draw(trained, batch, num_samples, temperature, seed):
  """What is given, samples [C, n, S, S, 3] and bits/dim [C, n], ranked."""
  task = trained.task
  sampler = jax.jit(make_sampler(trained.flow, task, num_samples=num_samples))
  given, samples, log_prob = sampler(
    trained.variables, jax.random.key(seed), batch, temperature
  )
  samples, log_prob = rank(samples, log_prob)
  bits = likelihood.bits_per_dim(log_prob, int(np.prod(task.event_shape)))
  return np.asarray(given), np.asarray(samples), np.asarray(bits)
