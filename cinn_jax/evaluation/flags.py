"""Flags of `--mode=evaluate`, `--mode=calibrate` and `--mode=compare`.

Imports no JAX, so that --help is quick.
"""

from absl import flags

NUM_DRAWS = flags.DEFINE_integer(
  "num_draws",
  1,
  "For --mode=evaluate: draws of the noise, for an importance-weighted bound.",
  lower_bound=1,
)
NUM_PICTURES = flags.DEFINE_integer(
  "num_pictures",
  0,
  "For --mode=calibrate: pictures, spread over the split (default: all).",
  lower_bound=0,
)
LEVEL = flags.DEFINE_integer(
  "level",
  0,
  "For --mode=calibrate of a wavelet flow: sample one level alone, by its"
  " cells. The base, such as 8, sets the means of regions, and takes a fraction"
  " of the time.",
  lower_bound=0,
)
WORKDIRS = flags.DEFINE_list(
  "workdirs",
  [],
  "Folders of runs, A,B,C: evaluated ones for --mode=compare, trained ones for"
  " the page.",
)

# The modes that each flag is for.
MODES: dict[str, tuple[str, ...]] = {
  NUM_DRAWS.name: ("evaluate",),
  NUM_PICTURES.name: ("calibrate",),
  LEVEL.name: ("calibrate",),
  WORKDIRS.name: ("compare",),
}
