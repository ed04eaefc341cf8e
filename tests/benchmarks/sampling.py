"""Measures the time of drawing samples, ours and FrEIA's.

  launch/local.sh python tests/benchmarks/sampling.py \\
    --config=configs/colorize.py:lsun --peer=freia [--json=FILE]

Times three cases: `--num_samples` samples for each of `--photos` conditions,
`--num_samples` for one condition, and one sample for one condition. Likelihoods
are included; pictures are not rendered. Like `--mode=sample`, ours takes one
condition per call, with several calls at once on a CPU. With --peer=freia the
same network (the published one for LSUN) in FrEIA takes turns with ours, in a
process of its own.

Goals: at least 4 times as fast as FrEIA; eight samples of a photo in at most
2.5 times the time of one.

`seconds` is the time by the clock, `processor` the time of all cores together,
which other work on the machine changes less. Both are medians of the rounds,
with quartiles. A ratio is FrEIA's time over ours. PyTorch's threads spin while
they wait for each other, so OMP_WAIT_POLICY=PASSIVE is fairer on a busy
machine.
"""

import functools
import time

import jax
import jax.numpy as jnp
import machine
import side_by_side
from absl import flags

from cinn_jax import cli
from cinn_jax.bijections.shapes import map_shapes
from cinn_jax.experiment.build import build
from cinn_jax.runtime import threads

_PEER = flags.DEFINE_enum("peer", None, ["freia"], "Also time this peer.")
_PEER_PYTHON = flags.DEFINE_string(
  "peer_python", None, "An interpreter with torch and FrEIA."
)
_PHOTOS = flags.DEFINE_integer("photos", 4, "Number of conditions.", 1)
_SAMPLES = flags.DEFINE_integer("num_samples", 8, "Samples per condition.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 11, "Rounds per case.", 2)
_JSON = flags.DEFINE_string(
  "json", None, "Also write the results to this file."
)

CLOCKS = ("seconds", "processor")


def _run():
  many, few = (_PHOTOS.value, _SAMPLES.value), (1, _SAMPLES.value)
  cases = {f"{p} x {n}": (p, n) for p, n in (many, few, (1, 1))}
  ours, parameters = _ours(cli.CONFIG.value)
  facts = machine.facts("jax", "jaxlib", "flax")
  if _PEER.value:
    python = side_by_side.freia_python(_PEER_PYTHON.value)
    with side_by_side.Peer(python, "freia_sampling.py") as peer:
      if peer.facts["parameters"] != parameters:
        raise ValueError(
          f"FrEIA's network has {peer.facts['parameters']:,} parameters, this"
          f" config's {parameters:,}: pass --config=configs/colorize.py:lsun."
        )
      facts["peer"] = peer.facts
      facts["versions"] = peer.facts["versions"] | facts["versions"]
      rows = _measure(cases, {"ours": ours, "freia": peer})
  else:
    rows = _measure(cases, {"ours": ours})
  several, single = rows[f"1 x {_SAMPLES.value}"], rows["1 x 1"]
  growth = {
    clock: several["ours"][clock]["median"] / single["ours"][clock]["median"]
    for clock in CLOCKS
  }
  print(_table(rows))
  print(
    f"{_SAMPLES.value} samples of a photo against 1, ours:"
    f" {growth['seconds']:.2f} times the seconds"
  )
  results = {"cases": rows, "samples_against_one": growth}
  if _PEER.value:
    results["ratio"] = rows[next(iter(cases))]["ratio"]["seconds"]["median"]
  machine.finish(results, facts, _JSON.value)


def _ours(config):
  """Returns `draw(photos, samples)` and the number of parameters."""
  flow, task = build(config)
  x = jnp.zeros((1, *task.event_shape))
  variables = jax.jit(flow.init)(jax.random.key(0), x, _condition(task, 0))
  sample = jax.jit(flow.sample, static_argnames="num_samples")

  def draw(photos, samples):
    conds = [_condition(task, seed) for seed in range(photos)]
    rngs = jax.random.split(jax.random.key(2), photos)
    each = jax.block_until_ready([*zip(rngs, conds, strict=True)])

    def draw_one(rng_and_cond):
      return jax.block_until_ready(
        sample(variables, *rng_and_cond, num_samples=samples)
      )

    begin, worked = time.perf_counter(), time.process_time()
    for _ in threads.in_order(draw_one, each):
      pass
    return {
      "seconds": time.perf_counter() - begin,
      "processor": time.process_time() - worked,
    }

  parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
  return draw, parameters


def _condition(task, seed):
  """Returns one random condition, as a batch."""
  return map_shapes(
    lambda shape: jax.random.normal(jax.random.key(seed), (1, *shape)),
    task.cond_shape,
  )


def _measure(cases, sides):
  """Returns medians and quartiles by case, side and clock, and ratios."""
  rows = {}
  for name, (photos, samples) in cases.items():
    calls = {
      side: functools.partial(draw, photos=photos, samples=samples)
      for side, draw in sides.items()
    }
    rounds = side_by_side.alternate(calls, _ROUNDS.value)
    times = {
      side: {clock: [call[clock] for call in calls] for clock in CLOCKS}
      for side, calls in rounds.items()
    }
    rows[name] = {
      side: {clock: machine.spread(t[clock]) for clock in CLOCKS}
      for side, t in times.items()
    }
    if "freia" in times:
      rows[name]["ratio"] = {
        clock: side_by_side.ratio(times["ours"][clock], times["freia"][clock])
        for clock in CLOCKS
      }
  return rows


def _table(rows):
  head = ["photos x samples", "side", "seconds", "processor"]
  lines = [
    [case, side, *(_cell(clocks[clock]) for clock in CLOCKS)]
    for case, sides in rows.items()
    for side, clocks in sides.items()
  ]
  return machine.table(head, lines)


def _cell(values):
  return "{median:.3f} ({low:.3f} to {high:.3f})".format_map(values)


if __name__ == "__main__":
  cli.run(_run, required=["config"])
