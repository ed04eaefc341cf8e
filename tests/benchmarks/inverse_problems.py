"""How near fitted posteriors come to known ones, ours and FrEIA's.

  python tests/benchmarks/inverse_problems.py [--json=FILE] [--peer=freia]

For each problem of posterior_problems.py and each seed a flow is fitted to the
same simulations, and drawn from. The columns, mean ± deviation over the seeds:

  c2st      accuracy of a classifier between draws of the fitted and of the
            exact posterior at one observation: 0.5 is perfect
  cover 50, how often the central interval of that level holds the truth, over
  cover 90  fresh simulations, mean over parameters
  log prob  mean ln q(theta | x) of those simulations, in nats, theta in units
            of its prior's deviation; higher is better
  seconds   of the fit, compilation included

With --peer=freia the same network and budget run in FrEIA (extra `freia`).
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
from cinn_jax.evaluation.tables import table
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
  parser.add_argument("--peer", choices=["freia"], help="run it as well")
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
    content = {**facts, **table.environment()}
    pathlib.Path(flags.json).write_text(json.dumps(content, indent=2) + "\n")


def over_seeds(rows, column):
  values = [row[column] for row in rows]
  return f"{np.mean(values):9.3f} ± {np.std(values):.3f}"


def run(problem, seed, flags):
  """Yields (flow's name, its row) for ours and the peer."""
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
    drawn = sample(observed.astype(np.float32), flags.samples)[0]
    ranks = calibration.sbc_ranks(test[0], sample(test[1], 199))
    cover = calibration.central_coverage(ranks, 199, LEVELS).mean(axis=1)
    return {
      "c2st": calibration.c2st(drawn, exact),
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
  """(sample, log_prob, permutations, epochs run)."""
  dim = theta.shape[1]
  module = vector_flow(
    dim,
    blocks=flags.blocks,
    hidden=SETTINGS["hidden"],
    alpha=SETTINGS["alpha"],
    # FrEIA has no other.
    clamp="freia_2021",
    mixing="permutation",
  )
  flow = cinn_jax.make_flow(module, (dim,))
  options = {k: v for k, v in SETTINGS.items() if k not in ("hidden", "alpha")}
  variables, history = cinn_jax.fit(
    flow, keys[0], theta, x, num_epochs=flags.epochs, progress=False, **options
  )
  draw = jax.jit(flow.sample, static_argnames="num_samples")

  def sample(x, num_samples):
    return np.asarray(draw(variables, keys[1], x, num_samples=num_samples)[0])

  def log_prob(theta, x):
    return np.asarray(flow.log_prob(variables, theta, x).total)

  (order,) = jax.tree.leaves(variables["constants"])
  return sample, log_prob, np.asarray(order), len(history.train_log_prob)


def theirs(theta, x, permutations, seed, flags):
  """(sample, log_prob, epochs run)."""
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
