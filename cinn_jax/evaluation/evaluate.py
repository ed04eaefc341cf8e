"""`--mode=evaluate`: the whole test split, as a table and as JSON."""

import math

import jax

from cinn_jax.evaluation import bits, importance
from cinn_jax.evaluation.by_task import (
  class_conditional,
  color_mnist,
  colorize,
  generate,
  image_to_image,
)
from cinn_jax.evaluation.tables import records, table
from cinn_jax.evaluation.validation import Validator
from cinn_jax.experiment.build import open_source
from cinn_jax.runtime import processes, sharding, storage
from cinn_jax.workdir.trained import restore

# What a task's samples are worth: `(trained, source, workdir, *, num_samples,
# temperature, seed) -> (rows, metrics, lines)`, rows and metrics as of `report`
# and lines to print under the table.
SAMPLES = {
  "class_conditional": class_conditional.evaluate,
  "color_mnist": color_mnist.evaluate,
  "colorize": colorize.evaluate,
  "colorize_rgb": image_to_image.evaluate,
  "generate": generate.evaluate,
  "inpaint": image_to_image.evaluate,
  "sketch": image_to_image.evaluate,
  "super_resolution": image_to_image.evaluate,
}


def evaluate(
  workdir,
  *,
  data=None,
  num_samples=8,
  temperature=1.0,
  seed=0,
  num_draws=1,
):
  """Evaluates a trained run; prints a table, writes `evaluation.json`.

  Bits/dim for every task, and what the task's samples are worth beside
  reference rows. The split is "test", or what the source has for it.

  Args:
    workdir: of a trained run.
    data: settings that override those of the run's config, for other pictures.
    num_samples, temperature, seed: of sampling.
    num_draws: of the noise; above 1, an importance-weighted bound stands beside
      bits/dim, see `importance`.

  Raises:
    FileNotFoundError: where the workdir holds no checkpoint.
    ValueError: where bits/dim is not finite.
  """
  workdir = storage.path(workdir)
  trained = restore(workdir, data)
  source = open_source(trained.config, trained.task, "test")
  print(
    f"{workdir} at step {trained.step:,}; pictures: {source.name}, listing"
    f" {source.listing_hash}."
  )
  scores = _scores(trained, source, seed, num_draws)
  rows, metrics, lines = SAMPLES[trained.config["task"]["name"]](
    trained,
    source,
    workdir,
    num_samples=num_samples,
    temperature=temperature,
    seed=seed,
  )
  path = workdir / "evaluation.json"
  if processes.is_first():
    records.write_json(
      path,
      rows,
      metrics,
      likelihood={"of": trained.task.description, **scores},
      step=trained.step,
      source=source.name,
      listing_hash=source.listing_hash,
      num_samples=num_samples,
      temperature=temperature,
      seed=seed,
      config=trained.config,
      notes=lines,
    )
  print(f"Of {trained.task.description}:")
  print(bits.in_words(scores, trained.task))
  if weighted := scores.get("importance_weighted"):
    print(importance.in_words(weighted, trained.task))
  print(table.table(rows, metrics))
  print("\n".join([*lines, f"Written to {path}."]))
  # Not before it is there may another process read it.
  processes.agree(True)


def _scores(trained, source, seed, num_draws):
  size = trained.config["train"]["batch_size"]
  mesh = sharding.make_mesh()
  validator = Validator(
    trained.flow, trained.task, source, mesh, batch_size=size, seed=seed
  )
  # By way of the host: every process has its own copy.
  variables = jax.device_put(
    jax.device_get(trained.variables), sharding.replicated(mesh)
  )
  scores = validator.score(variables, interval=True)
  if not math.isfinite(scores["bits_per_dim"]):
    raise ValueError(
      f"bits/dim of {source.name} is {scores['bits_per_dim']}: these pictures"
      " are far from what the run was trained on, or its training went wrong."
    )
  if num_draws > 1:
    scores["importance_weighted"] = importance.bound(
      trained, source, num_draws=num_draws, batch_size=size, seed=seed
    )
  return scores
