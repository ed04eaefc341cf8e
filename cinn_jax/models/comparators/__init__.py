"""Models to compare flows with, behind the interface of a `Flow`.

They share tasks, training loop, checkpoints, samples and tables with flows.
`make` returns a `Flow` whose `objective` says how the model is trained.
"""

from collections.abc import Callable

from cinn_jax.models.comparators.answer import Answer
from cinn_jax.models.comparators.conditional_gan import conditional_gan, esrgan
from cinn_jax.models.comparators.conditional_vae import conditional_vae
from cinn_jax.models.comparators.make import make
from cinn_jax.models.comparators.regression import regression, rrdb_regression

__all__ = ["BUILDERS", "Answer", "make"]

# The counterpart of `models.BUILDERS`.
BUILDERS: dict[str, Callable[..., Answer]] = {
  "conditional_gan": conditional_gan,
  "conditional_vae": conditional_vae,
  "esrgan": esrgan,
  "regression": regression,
  "rrdb_regression": rrdb_regression,
}
