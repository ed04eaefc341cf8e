"""`--mode=evaluate`: the whole held-out split, as a table and as JSON."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from cinn_jax import experiment, likelihood, sampling
from cinn_jax.data import loader
from cinn_jax.evaluation import report
from cinn_jax.evaluation.validation import Validator
from cinn_jax.training import sharding


def evaluate(workdir, *, num_samples=8, temperature=1.0, seed=0):
  """Evaluates a trained run; prints a table, writes `evaluation.json`.

  Beside the model stand two reference rows: the condition itself ("grey"), and
  the truth in place of the samples. Samples count in the order they were
  drawn: a ranking would bias what one sample is worth.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
  """
  workdir = pathlib.Path(workdir)
  trained = experiment.restore(workdir)
  source = experiment.open_source(trained.config, "validation")
  print(f"{workdir} at step {trained.step:,}; pictures: {source.name}.")
  bits = _bits(trained, source, seed)
  sampled = _sample_all(trained, source, num_samples, temperature, seed)
  rows = {
    "samples": report.evaluate((t, s, m) for t, _, s, m in sampled),
    trained.task.condition_name: report.evaluate(
      ((t, g[:, None], m) for t, g, _, m in sampled), mark="reference"
    ),
    "real against itself": report.evaluate(
      ((t, t[:, None], m) for t, _, _, m in sampled), mark="reference"
    ),
  }
  path = workdir / "evaluation.json"
  report.write_json(
    path,
    rows,
    likelihood={"of": trained.task.describe, **bits},
    step=trained.step,
    source=source.name,
    temperature=temperature,
    seed=seed,
  )
  print(_likelihood_line(trained.task, bits))
  print(report.table(rows))
  print(f"Written to {path}.")


def _bits(trained, source, seed):
  size = trained.config["train"]["batch_size"]
  mesh = sharding.make_mesh()
  validator = Validator(
    trained.flow, trained.task, source, mesh, batch_size=size, seed=seed
  )
  variables = jax.device_put(trained.variables, sharding.replicated(mesh))
  scores = validator.score(variables)
  scores["bits_per_dim_of_unscaled_data"] = likelihood.rescale_bits_per_dim(
    scores["bits_per_dim"], trained.task.scales
  )
  return scores


def _likelihood_line(task, bits):
  return (
    f"bits/dim {bits['bits_per_dim']:.4f} = prior {bits['bits_prior']:.4f}"
    f" + log-det {bits['bits_log_det']:.4f}, of {task.describe};"
    f" {bits['bits_per_dim_of_unscaled_data']:.4f} in the data's own units."
    f" Largest round-trip error {bits['round_trip_error']:.1e}, log-scale"
    f" {bits['max_log_scale']:.2f}."
  )


def _sample_all(trained, source, num_samples, temperature, seed):
  """(truth, condition, samples, mask) of each batch, as numpy."""
  sampler = jax.jit(
    sampling.make_sampler(
      trained.flow,
      trained.task,
      num_samples=num_samples,
      temperature=temperature,
    )
  )
  size = min(16, len(source))
  batches = loader.evaluation_batches(
    source, image_size=trained.task.image_size, batch_size=size
  )
  results = []
  with tqdm(total=len(source), unit="picture", desc="sampling") as bar:
    for index, batch in enumerate(batches):
      rng = jax.random.fold_in(jax.random.key(seed), index)
      truth = batch["image"]
      given, samples, _ = sampler(trained.variables, rng, jnp.asarray(truth))
      mask = batch["mask"]
      results.append((truth, np.asarray(given), np.asarray(samples), mask))
      bar.update(int(np.sum(mask)))
  return results
