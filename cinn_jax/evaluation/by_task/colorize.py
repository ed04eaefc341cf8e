"""What colorizations are worth, beside grey pictures and the truth."""

from cinn_jax.evaluation.tables import table
from cinn_jax.sampling.over_split import drawn


def evaluate(trained, source, workdir, *, num_samples, temperature, seed):
  """Rows of colorizations; see `evaluation.evaluate` for what is returned.

  Beside the model stand two reference rows: the condition itself ("grey"), and
  the truth in place of the samples. Samples count in the order they were
  drawn: a ranking would bias what one sample is worth.
  """
  del workdir  # Nothing is written beside the table.
  methods = {
    "samples": table.Method(),
    trained.task.condition_name: table.Method("reference"),
    "real against itself": table.Method("reference"),
  }
  for batch, given, samples, _ in drawn(
    trained,
    source,
    num_samples=num_samples,
    temperature=temperature,
    seed=seed,
  ):
    truth = batch["image"]
    shown = (samples, given[:, None], truth[:, None])
    for method, pictures in zip(methods.values(), shown, strict=True):
      method.add(truth, pictures)
  rows = {name: method.row() for name, method in methods.items()}
  return rows, table.METRICS, []
