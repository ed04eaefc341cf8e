"""The registry of evaluations by task."""

from cinn_jax import tasks
from cinn_jax.evaluation import evaluate


def test_every_task_is_evaluated():
  assert set(evaluate.SAMPLES) == set(tasks.BUILDERS)
