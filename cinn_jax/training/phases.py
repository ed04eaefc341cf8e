"""Phases of training for models of two flows, such as CAFLOW.

By default all parts are trained together. The other way has three phases, of
one run that stops and resumes in any of them:

1. each unconditional flow by itself, for `train.unconditional_steps`;
2. the conditional flows between their latents, the two staying as they are;
3. all together again, at a lower rate if the schedule says so.

In a config, for 10,000 steps of the first and fine-tuning from step 50,000:

  config.train.unconditional_steps = 10_000
  config.optimizer.groups = phases.groups(10_000, 50_000)
  config.optimizer.schedule = "multistep"
  config.optimizer.schedule_options = {"boundaries": (50_000,), "factor": 0.1}

Boundaries count from the end of a warm-up, where there is one.
"""


def groups(unconditional_steps: int, fine_tune_from: int = -1) -> dict:
  """`optimizer.groups` of such a run, see `make_optimizer`.

  Args:
    unconditional_steps: the length of the first phase.
    fine_tune_from: the step at which the third begins; -1 for none.

  Raises:
    ValueError: where the third would begin within the first.
  """
  if -1 != fine_tune_from < unconditional_steps:
    raise ValueError(
      f"fine_tune_from is -1 or at least unconditional_steps"
      f" ({unconditional_steps}), got {fine_tune_from}."
    )
  flows = {"paused": (unconditional_steps, fine_tune_from)}
  return {
    "target_flow": dict(flows),
    "condition_flow": dict(flows),
    "latent_flows": {"paused": (0, unconditional_steps)},
  }
