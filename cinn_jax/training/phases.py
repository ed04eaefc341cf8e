"""Phases of training for models of two flows, such as CAFLOW.

By default all parts are trained together. With `config.pretrain` a run has
three phases instead; it can be stopped and resumed in each of them:

1. For `unconditional_steps`, each unconditional flow is trained separately.
2. The conditional flows between their latents are trained; the two
   unconditional flows do not change.
3. From `fine_tune_from` on, everything is trained together.

  --config.pretrain.unconditional_steps=10000
  --config.pretrain.fine_tune_from=50000

The schedule "multistep" gives the third phase a tenth of the learning rate (its
boundaries count from the end of the warm-up, if there is one):

  --config.optimizer.schedule_options.boundaries='(50000,)'
"""

from typing import Any

from ml_collections import ConfigDict


def unconditional_steps(config: ConfigDict) -> int:
  """Returns the length of the first phase; 0 if there is none."""
  return config.get("pretrain", {}).get("unconditional_steps", 0)


def optimizer_options(config: ConfigDict) -> dict[str, Any]:
  """Returns the arguments of `make_optimizer`, with the pauses of the phases.

  Raises:
    ValueError: if the third phase would begin within the first.
  """
  options = config.optimizer.to_dict()
  if steps := unconditional_steps(config):
    pauses = groups(steps, config.pretrain.get("fine_tune_from", -1))
    settings = options.get("groups") or {}
    options["groups"] = {
      name: {**pauses.get(name, {}), **settings.get(name, {})}
      for name in {**pauses, **settings}
    }
  return options


def groups(
  unconditional_steps: int, fine_tune_from: int = -1
) -> dict[str, dict[str, Any]]:
  """Returns the `groups` of `make_optimizer` for these phases.

  Args:
    unconditional_steps: Length of the first phase.
    fine_tune_from: Step after which the third phase begins; -1 for no third
      phase.

  Raises:
    ValueError: if the third phase would begin within the first.
  """
  if -1 != fine_tune_from < unconditional_steps:
    raise ValueError(
      "pretrain.fine_tune_from must be -1 or at least"
      f" pretrain.unconditional_steps ({unconditional_steps}), got"
      f" {fine_tune_from}."
    )
  flows = {"paused": (unconditional_steps, fine_tune_from)}
  return {
    "target_flow": dict(flows),
    "condition_flow": dict(flows),
    "latent_flows": {"paused": (0, unconditional_steps)},
  }
