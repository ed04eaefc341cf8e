"""Compares options of flows and fits on new simulations of sbibm's tasks.

  launch/local.sh python tests/benchmarks/sbibm_options.py \\
    [--tasks=two_moons,slcp] [--budget=10000] [--seeds=0] \\
    [--options=defaults,affine]

The columns are, in nats, higher is better:

  ten         mean ln q(theta | x) at the true parameters of ten observations
              that are simulated for this purpose
  validation  the same for the rows that `fit` held out, at its best epoch

No reference posterior and no observation of the benchmark is read.
"""

import argparse
import time

import jax
import numpy as np
from sbibm_tasks import TASKS, flow_for

import cinn_jax

# Arguments of `flow_for` and of `fit` by name; "defaults" has none.
OPTIONS = {
  "defaults": ({}, {}),
  "affine": ({"coupling": "affine"}, {}),
  "no_linear_start": ({"linear_start": False}, {}),
  "mapped": ({"is_mapped": True}, {}),
  "not_mapped": ({"is_mapped": False}, {}),
  "earlier": ({"mixing": "orthogonal"}, {"weight_decay": 1.0}),
  "orthogonal": ({"mixing": "orthogonal"}, {}),
  "decay_1": ({}, {"weight_decay": 1.0}),
  "wide": ({"hidden": (128, 128), "blocks": 8}, {}),
  "no_decay": ({}, {"weight_decay": 0.0}),
  "longer": ({}, {"num_epochs": 200}),
  "shorter": ({}, {"num_epochs": 50}),
}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--tasks", default=",".join(TASKS))
  parser.add_argument("--budget", type=int, default=10_000)
  parser.add_argument("--seeds", default="0")
  parser.add_argument("--options", default=",".join(OPTIONS))
  flags = parser.parse_args()
  print(f"{'task':25}{'options':13}seed     ten  validation  epochs  seconds")
  for name in flags.tasks.split(","):
    for seed in map(int, flags.seeds.split(",")):
      for options in flags.options.split(","):
        numbers = score(name, seed, flags.budget, *OPTIONS[options])
        print(f"{name:25}{options:13}{seed:4}{numbers}", flush=True)


def score(name, seed, budget, model_options, fit_options):
  """Returns the formatted columns of one fit."""
  task = TASKS[name]
  theta, x = task.simulate(np.random.default_rng([seed, budget]), budget)
  # A stream that differs from that of the training data.
  ten = task.simulate(np.random.default_rng([seed, budget, 10]), 10)
  flow = flow_for(task, **model_options)
  start = time.perf_counter()
  variables, history = cinn_jax.fit(
    flow, jax.random.key(seed), theta, x, progress=False, **fit_options
  )
  seconds = time.perf_counter() - start
  log_prob = float(flow.log_prob(variables, *ten).total.mean())
  best = history.validation_log_prob[history.best_epoch]
  epochs = len(history.train_log_prob)
  return f"{log_prob:8.3f}{best:12.3f}{epochs:8}{seconds:9.0f}"


if __name__ == "__main__":
  main()
