"""Compares posteriors of sbibm's tasks with its reference posteriors.

  launch/local.sh python tests/benchmarks/sbibm.py --data=sbibm.zip \\
    [--tasks=two_moons,slcp] [--budgets=10000] [--seeds=0]
  launch/local.sh python tests/benchmarks/sbibm.py --table

It follows the protocol of Lueckmann et al. 2021: one network per task and
budget serves all ten observations. `cinn_jax.fit` trains it with its defaults.
A classifier (`calibration.c2st`) compares 10,000 samples of each posterior with
the reference's 10,000; an accuracy of 0.5 is perfect. Samples outside the
prior's bounds are drawn again, as in NPE; most flows map the bounds to
infinity, see `sbibm_tasks`.

Each task, budget and seed makes a row in results/sbibm.json; rows that exist
are skipped. A run that was stopped goes on with the next observation. Options
were chosen by sbibm_options.py, which reads no reference posterior.
"""

import argparse
import json
import pathlib
import time

import jax
import numpy as np
import result_rows
import sbibm_references
import sbibm_table
from sbibm_tasks import TASKS, Task, flow_for

import cinn_jax
from cinn_jax.evaluation.metrics import calibration
from cinn_jax.evaluation.tables import records

NUM_SAMPLES = 10_000
RESULTS = pathlib.Path(__file__).parent / "results" / "sbibm.json"


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--data", type=pathlib.Path, help="sbibm.zip")
  parser.add_argument("--tasks", default=",".join(TASKS))
  parser.add_argument("--budgets", default="10000", help="simulations")
  parser.add_argument("--seeds", default="0")
  parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
  parser.add_argument(
    "--workdir",
    type=pathlib.Path,
    default=pathlib.Path("workdirs/sbibm"),
    help="for the samples of rows that are not complete",
  )
  parser.add_argument("--table", action="store_true", help="only print it")
  flags = parser.parse_args()
  if flags.table:
    print(sbibm_table.table(result_rows.read(flags.results)))
    return
  names, budgets, seeds = (
    part.split(",") for part in (flags.tasks, flags.budgets, flags.seeds)
  )
  if unknown := sorted(set(names) - set(TASKS)):
    parser.error(f"unknown tasks {unknown}; there are {', '.join(TASKS)}")
  if flags.data is None:
    parser.error("--data is missing: pass the path of sbibm.zip")
  for seed in map(int, seeds):
    for budget in map(int, budgets):
      for name in names:
        make_row(name, budget, seed, flags)


def key(row):
  """Returns the key of a row, by which the table is sorted."""
  return list(TASKS).index(row["task"]), row["budget"], row["seed"]


def make_row(name, budget, seed, flags):
  """Adds one row to the results, unless it exists."""
  row = {"task": name, "budget": budget, "seed": seed}
  if any(key(row) == key(old) for old in result_rows.read(flags.results)):
    print(f"{name} {budget} {seed}: done before")
    return
  references = [
    sbibm_references.read(flags.data, name, number)
    for number in range(1, sbibm_references.NUM_OBSERVATIONS + 1)
  ]
  state = flags.workdir / f"{name}-{budget}-{seed}.json"
  samples_file = state.with_suffix(".npy")
  if not state.exists():
    state.parent.mkdir(parents=True, exist_ok=True)
    observed = np.stack([each.x for each in references]).astype(np.float32)
    truth = np.stack([each.truth for each in references]).astype(np.float32)
    samples, facts = posteriors(TASKS[name], budget, seed, observed, truth)
    np.save(samples_file, samples)
    row |= {**facts, "c2st": [], "c2st_seconds": []}
    state.write_text(json.dumps(row))
  row, samples = json.loads(state.read_text()), np.load(samples_file)
  for number in range(len(row["c2st"]), len(references)):
    start = time.perf_counter()
    exact = references[number].samples
    row["c2st"].append(round(calibration.c2st(samples[number], exact), 4))
    row["c2st_seconds"].append(round(time.perf_counter() - start, 1))
    print(
      f"{name} {budget} {seed}, {number + 1}: {row['c2st'][-1]}", flush=True
    )
    state.write_text(json.dumps(row))
  result_rows.append(flags.results, row, key)
  state.unlink()
  samples_file.unlink()


def posteriors(
  task: Task, budget: int, seed: int, observed: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, dict]:
  """Fits a flow to new simulations and draws from its posteriors.

  Args:
    task: Prior and simulator.
    budget: Number of simulations.
    seed: Seed for simulations, fit and samples.
    observed: Observations [n, data_dim].
    truth: Their parameters [n, dim].

  Returns:
    Samples [n, 10,000, dim], and facts about the fit for the row.
  """
  keys = jax.random.split(jax.random.key(seed), 2)
  theta, x = task.simulate(np.random.default_rng([seed, budget]), budget)
  start = time.perf_counter()
  flow = flow_for(task)
  fitted = cinn_jax.fit(flow, keys[0], theta, x)
  seconds = time.perf_counter() - start
  log_prob = flow.log_prob(fitted.variables, truth, observed).total
  start = time.perf_counter()
  samples = np.stack(
    [
      draw_inside(task, flow, fitted.variables, rng, each[None])
      for rng, each in zip(
        jax.random.split(keys[1], len(observed)), observed, strict=True
      )
    ]
  )
  history = fitted.history
  return samples, {
    "fit_seconds": round(seconds, 1),
    "sample_seconds": round(time.perf_counter() - start, 1),
    "epochs": len(history.train_log_prob),
    "best_epoch": history.best_epoch,
    "validation_log_prob": float(history.validation_log_prob.max()),
    "log_prob_of_truth": float(log_prob.mean()),
    **records.environment(),
  }


def draw_inside(task, flow, variables, rng, x):
  """Draws 10,000 samples [10,000, dim] inside the bounds for one x."""
  kept, count = [], 0
  for key in jax.random.split(rng, 100):
    drawn, _ = flow.sample(variables, key, x, num_samples=NUM_SAMPLES)
    kept.append(inside(task, np.asarray(drawn[0])))
    count += len(kept[-1])
    if count >= NUM_SAMPLES:
      return np.concatenate(kept)[:NUM_SAMPLES]
  raise ArithmeticError(
    f"Only {count} of {100 * NUM_SAMPLES} samples are inside the prior's"
    " bounds: the fit is far from the posterior."
  )


def inside(task: Task, theta: np.ndarray) -> np.ndarray:
  """Returns the rows [k, dim] that are inside the prior's bounds."""
  low = -np.inf if task.low is None else task.low
  high = np.inf if task.high is None else task.high
  return theta[np.all((theta > low) & (theta < high), axis=1)]


if __name__ == "__main__":
  main()
