"""Ablations of the cINN paper, on the laptop colorization of photographs.

  python tests/benchmarks/ablations.py --photos=PHOTOS.zip \\
    [--variant=base,no_noise] [--seed=0,1] [--minutes=10]
  python tests/benchmarks/ablations.py --table

Each variant changes one thing in configs/colorize.py, whatever that does to the
number of parameters, and trains for --minutes of processor time, without
compilation. Runs append rows to --results, and are
skipped if their rows exist; --out gets sheets of samples. One in twenty
photographs is for testing.

bits/dim is measured with the noise of `base`, so that variants can be compared.
"""

import argparse
import datetime
import pathlib
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import claim_models
import claim_pictures
import claim_scores
import claim_table
import flax.linen as nn
import machine
import result_rows
from claim_training import Trainer
from claims import count_parameters

from cinn_jax.bijections.base import Array
from cinn_jax.evaluation.tables import markup
from cinn_jax.experiment.build import build
from cinn_jax.images import writing
from cinn_jax.models.image_cinn import resize

RESULTS = pathlib.Path(__file__).parent / "results" / "ablations.json"
RATE, BATCH_SIZE = 1e-3, 32
_BASE = "colorize:laptop"


class Resized(nn.Module):
  """Resized lightness, in place of the features of a condition network.

  Attributes:
    sides: Side of the map at each level.
    vector: Side of the map that is flattened into the vector.
  """

  sides: Sequence[int] = (32, 16, 8)
  vector: int = 8

  def __call__(self, cond: Array) -> dict[str, Array]:
    """Maps [B, H, W, 1] to {"level_0": [B, 32, 32, 1], ..., "vector"}."""
    small = resize(cond, (self.vector,) * 2)
    return {
      **{f"level_{k}": resize(cond, (s, s)) for k, s in enumerate(self.sides)},
      "vector": small.reshape(len(small), -1),
    }


class Variant(NamedTuple):
  """A change of the base.

  Attributes:
    what: The thing that it changes.
    settings: Settings of the config, by name.
    no_network: True if lightness replaces the condition network.
  """

  what: str
  settings: Mapping[str, Any] = types.MappingProxyType({})
  no_network: bool = False


_FROZEN = {"optimizer.groups": {"condition_net": {"frozen_steps": -1}}}
VARIANTS = {
  "base": Variant("nothing"),
  "no_condition_net": Variant("condition network", no_network=True),
  "frozen_condition_net": Variant("condition network", _FROZEN),
  "no_noise": Variant("noise", {"task.noise_scale": 0.0}),
  "less_noise": Variant("noise", {"task.noise_scale": 0.01}),
  "clamp_of_code": Variant("clamp", {"model.clamp": "cinn_code"}),
  "tight_clamp": Variant("clamp", {"model.alphas": (0.3,) * 4}),
  "permutation": Variant("mixing", {"model.mixing": "permutation"}),
  "normal_start": Variant(
    "initialisation", {"model.init_std": 0.02, "model.zero_last": False}
  ),
}
_COLUMNS = (
  ("RMSE of 1", "rmse_of_one", 1),
  ("best of 8", "rmse_of_best", 1),
  ("LPIPS", "lpips", 3),
  ("KID, 1e-3", "kid", 0),
  ("pixel std", "pixel_std", 1),
  ("energy score", "energy_score", 2),
  ("coverage of 90 %", "coverage_90", 0),
)
_NOTE = (
  "The base is configs/colorize.py. The paper found (quoted) that noise on the"
  " data matters most and that the condition network is essential."
)


def main() -> None:
  """Runs what is missing, or prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--photos", help="a zip file of photographs")
  parser.add_argument("--variant", default=",".join(VARIANTS))
  parser.add_argument("--seed", default="0,1")
  parser.add_argument("--minutes", type=float, default=10.0)
  parser.add_argument("--limit", type=int, default=0, help="test pictures")
  parser.add_argument("--out", default="out", help="folder for sheets")
  parser.add_argument("--results", default=str(RESULTS))
  parser.add_argument("--table", action="store_true", help="print, and stop")
  options = parser.parse_args()
  results = pathlib.Path(options.results)
  if options.table:
    print(markdown(result_rows.read(results)))
    return
  if not options.photos:
    parser.error("--photos=PHOTOS.zip is needed")
  names = options.variant.split(",")
  if unknown := [name for name in names if name not in VARIANTS]:
    parser.error(
      f"--variant={unknown[0]}: expected some of {', '.join(VARIANTS)}"
    )
  if options.minutes <= 0:
    parser.error("--minutes must be above 0")
  if fault := claim_scores.missing():
    parser.error(fault)
  split = claim_pictures.photographs(
    options.photos, claim_models.SIZE, options.out, options.limit
  )
  for name in names:
    _run(name, split, results, options)


def key(row: result_rows.Row) -> tuple[float, int, str, int]:
  """Returns the run that a row belongs to."""
  return row["minutes"], row["limit"], row["variant"], row["seed"]


def make_trainer(name: str, records: dict[str, Any]) -> Trainer:
  """Returns the trainer of a variant on these records."""
  variant = VARIANTS[name]
  config = claim_models.read_config(_BASE)
  config.train.batch_size = BATCH_SIZE
  config.update_from_flattened_dict(
    {k: v for k, v in variant.settings.items() if k != "optimizer.groups"}
  )
  if groups := variant.settings.get("optimizer.groups"):
    config.optimizer.groups = groups
  change = None
  if variant.no_network:

    def change(module):
      return module.clone(condition_net=Resized())

  return Trainer(config, records, augment=True, change=change)


def _run(name, split, results, options):
  done = {key(row) for row in result_rows.read(results)}
  seeds = [
    seed
    for seed in map(int, options.seed.split(","))
    if (options.minutes, options.limit, name, seed) not in done
  ]
  if not seeds:
    print(f"{name}: done before.", flush=True)
    return
  start = time.monotonic()

  def report(text):
    spent = time.monotonic() - start
    print(f"[{spent:6.0f} s] {name}: {text}", flush=True)

  trainer = make_trainer(name, split.train)
  for seed in seeds:
    trained = trainer.train(60 * options.minutes, RATE, seed, report)
    row = {
      "variant": name,
      "what": VARIANTS[name].what,
      "seed": seed,
      "minutes": options.minutes,
      "limit": options.limit,
      "parameters": count_parameters(trainer),
      "steps": trained.steps,
      "skipped_steps": trained.skipped,
      "diverged": trained.diverged,
      "test_pictures": len(split.test["image"]),
      "copies_left_out": split.copies,
      "when": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
      **machine.facts("jax", "flax"),
    }
    if not trained.diverged:
      measures, sheet = claim_scores.of_photographs(
        trainer, trained, split.test
      )
      writing.save_png(pathlib.Path(options.out) / f"{name}-{seed}.png", sheet)
      # The same noise for all variants.
      task = build(claim_models.read_config(_BASE))[1]
      bits = claim_scores.bits_per_dim(
        trainer, trained.variables, split.test, task
      )
      row |= {"measures": measures, "bits_per_dim": bits}
    result_rows.append(results, row, key)
    report(f"seed {seed}: row written")


def markdown(rows: Sequence[result_rows.Row]) -> str:
  """Returns a table for each budget: a line per variant, the base first."""
  parts = []
  for budget in dict.fromkeys(key(row)[:2] for row in rows):
    own = [row for row in rows if key(row)[:2] == budget]
    head = ["variant", "changed", "parameters", "seeds", "bits/dim"]
    lines = [[*head, *(title for title, *_ in _COLUMNS)]]
    for name, variant in VARIANTS.items():
      runs = [row for row in own if row["variant"] == name]
      kept = [row for row in runs if not row["diverged"]]
      if not runs:
        continue
      seeds = str(len(runs))
      if len(kept) < len(runs):
        seeds += f" ({len(runs) - len(kept)} diverged)"
      bits = claim_table.cell([row["bits_per_dim"] for row in kept], 3)
      cells = [
        claim_table.cell([row["measures"].get(k) for row in kept], digits)
        for _, k, digits in _COLUMNS
      ]
      facts = [name, variant.what, f"{runs[0]['parameters']:,}"]
      lines.append([*facts, seeds, bits, *cells])
    parts += [
      f"**{budget[0]:g} minutes of processor time per run**,"
      f" {own[0]['test_pictures']} test pictures",
      "",
      markup.markdown(lines),
      "",
    ]
  return "\n".join([*parts, _NOTE]) if parts else "There are no rows yet."


if __name__ == "__main__":
  main()
