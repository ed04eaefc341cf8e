"""What colorizations are worth, beside grey pictures and the truth."""

from cinn_jax.evaluation import report
from cinn_jax.evaluation.drawn import drawn


def evaluate(trained, source, workdir, *, num_samples, temperature, seed):
  """Rows of colorizations; see `evaluation.evaluate` for what is returned.

  Beside the model stand two reference rows: the condition itself ("grey"), and
  the truth in place of the samples. Samples count in the order they were
  drawn: a ranking would bias what one sample is worth.
  """
  del workdir  # Nothing is written beside the table.
  results = [
    (batch["image"], given, samples)
    for batch, given, samples, _ in drawn(
      trained,
      source,
      num_samples=num_samples,
      temperature=temperature,
      seed=seed,
    )
  ]
  rows = {
    "samples": report.evaluate((t, s, None) for t, _, s in results),
    trained.task.condition_name: report.evaluate(
      ((t, g[:, None], None) for t, g, _ in results), mark="reference"
    ),
    "real against itself": report.evaluate(
      ((t, t[:, None], None) for t, _, _ in results), mark="reference"
    ),
  }
  return rows, report.METRICS, []
