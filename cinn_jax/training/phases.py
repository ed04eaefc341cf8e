"""Phases of training for models of two flows, such as CAFLOW.

By default all parts are trained together. `config.pretrain` asks for the other
way, of three phases in one run, which stops and resumes in any of them:

1. each unconditional flow by itself, for `unconditional_steps`;
2. the conditional flows between their latents, the two staying as they are;
3. from `fine_tune_from` on all together again.

  --config.pretrain.unconditional_steps=10000
  --config.pretrain.fine_tune_from=50000

The third at a tenth of the rate, with the schedule's "multistep" (boundaries
count from the end of a warm-up, where there is one):

  --config.optimizer.schedule_options.boundaries='(50000,)'
"""

from collections.abc import Mapping


def unconditional_steps(config) -> int:
  """The length of the first phase; 0 where there is none."""
  return config.get("pretrain", {}).get("unconditional_steps", 0)


def optimizer_options(config) -> dict:
  """`config.optimizer` as arguments of `make_optimizer`, with the phases.

  Raises:
    ValueError: where the third phase would begin within the first.
  """
  options = config.optimizer.to_dict()
  if steps := unconditional_steps(config):
    pauses = groups(steps, config.pretrain.get("fine_tune_from", -1))
    given = options.get("groups") or {}
    options["groups"] = {
      name: {**pauses.get(name, {}), **given.get(name, {})}
      for name in {**pauses, **given}
    }
  return options


def groups(unconditional_steps: int, fine_tune_from: int = -1) -> Mapping:
  """`optimizer.groups` of these phases, see `make_optimizer`.

  Args:
    unconditional_steps: the length of the first.
    fine_tune_from: the step after which the third begins; -1 for none.

  Raises:
    ValueError: where the third would begin within the first.
  """
  if -1 != fine_tune_from < unconditional_steps:
    raise ValueError(
      "pretrain.fine_tune_from is -1 or at least pretrain.unconditional_steps"
      f" ({unconditional_steps}), got {fine_tune_from}."
    )
  flows = {"paused": (unconditional_steps, fine_tune_from)}
  return {
    "target_flow": dict(flows),
    "condition_flow": dict(flows),
    "latent_flows": {"paused": (0, unconditional_steps)},
  }
