"""Compares fitted posteriors with exact ones, for our flow and FrEIA's.

  launch/local.sh python tests/benchmarks/inverse_problems.py \\
    [--json=FILE] [--peer=freia]

Fits a flow to simulations of each problem in posterior_problems.py, once per
seed, and draws from it. The columns are means ± standard deviations over seeds:

  c2st      accuracy of a classifier that tells draws of the fitted posterior
            from exact ones, at one observation; 0.5 is perfect
  cover 50, share of new simulations whose central interval of 50 or 90 %
  cover 90  contains the true parameter, mean over parameters
  log prob  mean ln q(theta | x) of new simulations, in nats, with theta in
            units of its prior's standard deviation; higher is better
  seconds   time of the fit, with compilation
  epochs    number of epochs

With --peer=freia the same network is fitted in FrEIA, with the same data and
budget (extra `freia`).
"""

import argparse
import collections
import json
import pathlib
import time

import jax
import numpy as np
from posterior_problems import PROBLEMS

import cinn_jax
from cinn_jax.evaluation.metrics import calibration
from cinn_jax.evaluation.tables import records
from cinn_jax.models.vector_flow import vector_flow

SETTINGS = {
  "hidden": (64, 64),
  "alpha": 1.9,
  "batch_size": 256,
  "learning_rate": 1e-3,
  "clip_norm": 5.0,
  "validation_fraction": 0.1,
  "patience": 20,
}
LEVELS = (0.5, 0.9)
COLUMNS = ("c2st", "cover 50", "cover 90", "log prob", "seconds", "epochs")


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument("--peer", choices=["freia"], help="also fit this flow")
  parser.add_argument("--problems", default=",".join(PROBLEMS))
  parser.add_argument("--simulations", type=int, default=10_000)
  parser.add_argument("--epochs", type=int, default=100, help="at most")
  parser.add_argument("--blocks", type=int, default=6)
  parser.add_argument("--samples", type=int, default=1000, help="for c2st")
  parser.add_argument("--tests", type=int, default=300, help="for coverage")
  parser.add_argument("--seeds", type=int, default=3)
  flags = parser.parse_args()
  print(f"{'problem':18}{'flow':7}" + "".join(f"{c:>17}" for c in COLUMNS))
  results = collections.defaultdict(list)
  for name in flags.problems.split(","):
    for seed in range(flags.seeds):
      for flow, row in run(PROBLEMS[name], seed, flags):
        results[f"{name} {flow}"].append(row)
    for flow in ("ours", flags.peer) if flags.peer else ("ours",):
      cells = [over_seeds(results[f"{name} {flow}"], c) for c in COLUMNS]
      print(f"{name:18}{flow:7}{''.join(cells)}", flush=True)
  if flags.json:
    facts = {"rows": results, "flags": vars(flags), "settings": SETTINGS}
    content = {**facts, **records.environment()}
    pathlib.Path(flags.json).write_text(json.dumps(content, indent=2) + "\n")


def over_seeds(rows, column):
  """Formats the mean and the standard deviation of a column."""
  values = [row[column] for row in rows]
  return f"{np.mean(values):9.3f} ± {np.std(values):.3f}"


def run(problem, seed, flags):
  """Yields (name of the flow, its row) for our flow and the peer's."""
  keys = jax.random.split(jax.random.key(seed), 4)
  simulate = jax.jit(problem.simulate, static_argnums=1)
  train, test = (
    [np.asarray(values) for values in simulate(key, count)]
    for key, count in ((keys[0], flags.simulations), (keys[1], flags.tests))
  )
  units = [(a.mean(axis=0), a.std(axis=0)) for a in train]
  train = [(a - m) / s for a, (m, s) in zip(train, units, strict=True)]
  test = [(a - m) / s for a, (m, s) in zip(test, units, strict=True)]
  observed = ((problem.observation - units[1][0]) / units[1][1])[None]
  random = np.random.default_rng(seed)
  exact = problem.reference(random, problem.observation, flags.samples)
  exact = (exact - units[0][0]) / units[0][1]

  def measure(sample, log_prob):
    samples = sample(observed.astype(np.float32), flags.samples)[0]
    ranks = calibration.sbc_ranks(test[0], sample(test[1], 199))
    cover = calibration.central_coverage(ranks, 199, LEVELS).mean(axis=1)
    return {
      "c2st": calibration.c2st(samples, exact),
      "cover 50": cover[0],
      "cover 90": cover[1],
      "log prob": float(np.mean(log_prob(*test))),
    }

  start = time.perf_counter()
  *functions, permutations, epochs = ours(*train, keys[2:], flags)
  spent = {"seconds": time.perf_counter() - start, "epochs": epochs}
  yield "ours", {**measure(*functions), **spent}
  if flags.peer:
    start = time.perf_counter()
    *functions, epochs = theirs(*train, permutations, seed, flags)
    spent = {"seconds": time.perf_counter() - start, "epochs": epochs}
    yield flags.peer, {**measure(*functions), **spent}


def ours(theta, x, keys, flags):
  """Fits our flow; returns (sample, log_prob, permutations, epochs)."""
  dim = theta.shape[1]
  module = vector_flow(
    dim,
    blocks=flags.blocks,
    hidden=SETTINGS["hidden"],
    alpha=SETTINGS["alpha"],
    # FrEIA's flow has no splines, no other clamp, and no linear start.
    coupling="affine",
    clamp="freia_2021",
    linear_start=False,
    mixing="permutation",
  )
  flow = cinn_jax.make_flow(module, (dim,))
  options = {k: v for k, v in SETTINGS.items() if k not in ("hidden", "alpha")}
  variables, history = cinn_jax.fit(
    flow,
    keys[0],
    theta,
    x,
    num_epochs=flags.epochs,
    # FrEIA's flow sees the same numbers, and its networks do not decay.
    standardize=False,
    weight_decay=0.0,
    progress=False,
    **options,
  )
  draw = jax.jit(flow.sample, static_argnames="num_samples")

  def sample(x, num_samples):
    return np.asarray(draw(variables, keys[1], x, num_samples=num_samples)[0])

  def log_prob(theta, x):
    return np.asarray(flow.log_prob(variables, theta, x).total)

  (order,) = jax.tree.leaves(variables["constants"])
  return sample, log_prob, np.asarray(order), len(history.train_log_prob)


def theirs(theta, x, permutations, seed, flags):
  """Fits FrEIA's flow; returns (sample, log_prob, epochs)."""
  import freia_peer

  settings = {**SETTINGS, "num_epochs": flags.epochs}
  inn, epochs = freia_peer.fit(theta, x, permutations, settings, seed)

  def sample(x, num_samples):
    return freia_peer.sample(inn, x, num_samples, seed)

  def log_prob(theta, x):
    return freia_peer.log_prob(inn, theta, x)

  return sample, log_prob, epochs


if __name__ == "__main__":
  main()
