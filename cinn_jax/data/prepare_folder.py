"""Prepares a folder of pictures, and lists its splits.

  python -m cinn_jax.data.prepare_folder --path=photos
  python -m cinn_jax.data.prepare_folder --path=edges2shoes --source=paired \\
    --train_split=train --validation_split=val

Training does this by itself; with this command it can be done beforehand. It
prints the number of pictures in each split and their listing hash, which
training and evaluation report too: if two hashes are equal, the pictures are.
"""

from absl import flags

from cinn_jax import cli
from cinn_jax.data import sources

flags.declare_key_flag("debug")
_SOURCE = flags.DEFINE_enum(
  "source", "folder", ["folder", "paired"], "Single pictures, or pairs."
)
_OPTIONS = [
  flags.DEFINE_string("path", None, "The folder of pictures."),
  flags.DEFINE_string(
    "cache",
    "",
    "The directory for prepared folders (default: $CINN_JAX_CACHE or"
    " ~/.cache/cinn_jax).",
  ),
  flags.DEFINE_float(
    "validation_fraction", 0.05, "Fraction of the files held out, in (0, 1)."
  ),
  flags.DEFINE_integer(
    "max_short_side", 512, "Larger pictures are scaled down to it, in pixels."
  ),
  *(
    flags.DEFINE_string(f"{split}_split", "", f"Subfolder for {split}.")
    for split in sources.SPLITS
  ),
]


def _run():
  options = {flag.name: flag.value for flag in _OPTIONS}
  for split in sources.SPLITS:
    source = sources.open_source(_SOURCE.value, split, **options)
    print(f"{split}: {source.name}, listing {source.listing_hash}")


if __name__ == "__main__":
  cli.run(_run, required=["path"])
