"""Flags of `--mode=evaluate` and `--mode=compare`.

Imports no JAX, so that --help is quick.
"""

from absl import flags

NUM_DRAWS = flags.DEFINE_integer(
  "num_draws",
  1,
  "For --mode=evaluate: draws of the noise, for an importance-weighted bound.",
  lower_bound=1,
)
WORKDIRS = flags.DEFINE_list(
  "workdirs", [], "For --mode=compare: folders of evaluated runs, A,B,C."
)
