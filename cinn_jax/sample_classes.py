"""`--mode=sample` for a class-conditional run: pictures of every class."""

import json
import pathlib

import jax
import numpy as np

from cinn_jax import experiment, likelihood, pictures, sampling


def sample_classes(
  workdir, inputs, outputs, *, num_samples=8, temperature=1.0, seed=0
):
  """Draws pictures of every class with a trained model.

  Writes `<class>_<k>.png` per sample, most likely first; a contact sheet
  `sheet.png`, one row per class; and `samples.json` with each sample's
  bits/dim.

  Args:
    workdir: of a trained run.
    inputs: must be None: the classes are all that is given.
    outputs: a folder, made if it is not there.
    num_samples, temperature, seed: of sampling.

  Raises:
    FileNotFoundError: without a trained checkpoint.
    ValueError: for inputs, or a run of another task.
  """
  if inputs:
    raise ValueError(
      f"--inputs={inputs!r} is for tasks that start from pictures; a"
      " class-conditional run draws each of its classes: leave it out."
    )
  trained = experiment.restore(workdir)
  name = trained.config["task"]["name"]
  if name != "class_conditional":
    raise ValueError(
      f"{workdir} was trained for {name!r}: pass the --config of that run."
    )
  given, samples, bits = _draw(trained, num_samples, temperature, seed)
  outputs = pathlib.Path(outputs)
  for label, row in enumerate(samples):
    for k, picture in enumerate(row):
      pictures.save_png(outputs / f"{label}_{k + 1}.png", picture)
  sheet = pictures.contact_sheet(
    [[g, *row] for g, row in zip(given, samples, strict=True)],
    ["class", *(f"sample {k + 1}" for k in range(num_samples))],
    note=f"samples in order of likelihood, temperature {temperature:g}",
  )
  pictures.save_png(outputs / "sheet.png", sheet)
  facts = {"step": trained.step, "temperature": temperature, "seed": seed}
  (outputs / "samples.json").write_text(
    json.dumps({**facts, "bits_per_dim": bits.tolist()})
  )
  print(
    f"Wrote {outputs / 'sheet.png'} and {samples[:, :, 0, 0, 0].size} PNGs."
  )


def _draw(trained, num_samples, temperature, seed):
  """Labels' pictures, samples [C, n, S, S, 3] and bits/dim [C, n], ranked."""
  task = trained.task
  classes, size = task.cond_shape[-1], task.image_size
  sampler = jax.jit(
    sampling.make_sampler(
      trained.flow, task, num_samples=num_samples, temperature=temperature
    )
  )
  batch = {
    # Only the label counts: a condition has nothing of the picture.
    "image": np.zeros((classes, size, size, 3), np.uint8),
    "label": np.arange(classes, dtype=np.int32),
  }
  given, samples, log_prob = sampler(
    trained.variables, jax.random.key(seed), batch
  )
  samples, log_prob = sampling.rank(samples, log_prob)
  bits = likelihood.bits_per_dim(log_prob, int(np.prod(task.event_shape)))
  return np.asarray(given), np.asarray(samples), np.asarray(bits)
