"""`--mode=evaluate`: measures the whole test split, as a table and as JSON."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax

from cinn_jax.data.base import Source
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
from cinn_jax.runtime import processes, sharding
from cinn_jax.sampling.draw import Sampling, check_temperatures
from cinn_jax.workdir.results_folder import results_folder
from cinn_jax.workdir.saved import ranking
from cinn_jax.workdir.trained import Trained, restore

# The evaluation of each task's samples:
# `(trained, source, workdir, sampling) -> table.Evaluation`.
SAMPLES: dict[str, Callable[..., table.Evaluation]] = {
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
  workdir: str | os.PathLike,
  *,
  outputs: str | os.PathLike | None = None,
  data: Mapping[str, Any] | None = None,
  num_draws: int = 1,
  sampling: Sampling = Sampling(),
) -> None:
  """Evaluates a trained run: prints a table and writes `evaluation.json`.

  Every task gets bits/dim, and a table of its samples' quality with reference
  rows. The pictures are those of the split "test", or of the split that the
  source uses for it.

  Args:
    workdir: A trained run, as `restore` takes it.
    outputs: Folder for evaluation.json; the workdir if it is None. For a file
      it is the folder of the same name without ".safetensors".
    data: Settings that override the `data` section of the run's config, to
      evaluate on other pictures.
    num_draws: Draws of the noise. Above 1, an importance-weighted bound is
      reported next to bits/dim, see `importance`.
    sampling: Number of samples, temperatures and seed. With several
      temperatures, the samples of each have rows of their own.

  Raises:
    FileNotFoundError: if the workdir holds no checkpoint.
    ValueError: if bits/dim is not finite.
  """
  trained = restore(workdir, data)
  check_temperatures(trained.flow, trained.variables, sampling.temperatures)
  folder = results_folder(workdir if outputs is None else outputs)
  source = open_source(trained.config, trained.task, "test")
  print(
    f"{workdir} at step {trained.step:,}; pictures: {source.name}, listing"
    f" {source.listing_hash}."
  )
  scores = _scores(trained, source, sampling.seed, num_draws)
  rows, metrics, notes = SAMPLES[trained.config["task"]["name"]](
    trained, source, folder, sampling
  )
  path = folder / "evaluation.json"
  if processes.is_first():
    records.write_json(
      path,
      rows,
      metrics,
      likelihood={"of": trained.task.description, **scores},
      step=trained.step,
      checkpoint=trained.digest,
      source=source.name,
      listing_hash=source.listing_hash,
      **sampling._asdict(),
      config=trained.config,
      notes=notes,
    )
  what = "Likelihood" if trained.flow.objective is None else "Scores"
  print(f"{what} of {trained.task.description}:")
  print(bits.in_words(scores, trained.task))
  if weighted := scores.get("importance_weighted"):
    print(importance.in_words(weighted, trained.task))
  print(table.table(rows, metrics))
  print("\n".join([*notes, f"Written to {path}."]))
  # Other processes may read the file only after it has been written.
  processes.agree(True)


def _scores(
  trained: Trained, source: Source, seed: int, num_draws: int
) -> dict[str, Any]:
  mesh = sharding.make_mesh()
  # The last batch is padded, so any size will do.
  count = mesh.devices.size
  size = -(-trained.config["train"]["batch_size"] // count) * count
  validator = Validator(
    trained.flow, trained.task, source, mesh, batch_size=size, seed=seed
  )
  # Through the host, because every process has its own copy.
  variables = jax.device_put(
    jax.device_get(trained.variables), sharding.replicated(mesh)
  )
  scores = validator.score(variables, interval=True)
  name, value = ranking(scores)
  if not math.isfinite(value):
    title = "bits/dim" if name == "bits_per_dim" else name
    raise ValueError(
      f"{title} of {source.name} is {value}: these pictures"
      " are far from what the run was trained on, or its training went wrong."
    )
  if num_draws > 1 and name == "bits_per_dim":
    scores["importance_weighted"] = importance.bound(
      trained, source, num_draws=num_draws, batch_size=size, seed=seed
    )
  return scores
