"""Prepares a folder of pictures, and says what its splits are.

  python -m cinn_jax.data.prepare_folder --path=photos
  python -m cinn_jax.data.prepare_folder --path=edges2shoes --source=paired \\
    --train_split=train --validation_split=val

Training does this by itself; here it can be done beforehand. Per split it
prints how many pictures there are and their listing hash, which runs and
evaluations write down too: where it is equal, the pictures are.
"""

import argparse
import sys

from cinn_jax.data import sources


def main(arguments: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--path", required=True, help="a folder of pictures")
  parser.add_argument(
    "--source", default="folder", choices=("folder", "paired")
  )
  parser.add_argument("--cache", default="", help="default: ~/.cache/cinn_jax")
  parser.add_argument("--validation_fraction", type=float, default=0.05)
  parser.add_argument("--max_short_side", type=int, default=512)
  for split in sources.SPLITS:
    parser.add_argument(f"--{split}_split", default="", help="a subfolder")
  options = vars(parser.parse_args(arguments))
  name = options.pop("source")
  try:
    for split in sources.SPLITS:
      source = sources.open_source(name, split, **options)
      print(f"{split}: {source.name}, listing {source.listing_hash}")
  except (ValueError, OSError) as error:
    sys.exit(f"Error: {error}")


if __name__ == "__main__":
  main()
