"""The command: a workdir from an official PyTorch checkpoint.

  python -m cinn_jax.importing --config=configs/mnist.py:paper \\
    --checkpoint=FILE --workdir=workdirs/paper
  python -m cinn_jax.main --config=configs/mnist.py:paper --mode=sample \\
    --workdir=workdirs/paper
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "The experiment: FILE.py, or FILE.py:VARIANT."
)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The authors' file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder for the new run.")


def main(_):
  from cinn_jax.importing.workdir import import_official

  logging.set_verbosity(logging.ERROR)
  try:
    import_official(_CHECKPOINT.value, _CONFIG.value, _WORKDIR.value)
  except (ValueError, OSError, RuntimeError) as error:
    sys.exit(f"Error: {' '.join(str(error).split())}")
  print(f"Wrote {_CHECKPOINT.value} to {_WORKDIR.value}, as step 1.")


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "checkpoint", "workdir"])
  app.run(main)
