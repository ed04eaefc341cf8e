"""Makes a workdir from an official PyTorch checkpoint (a command).

  python -m cinn_jax.importing --config=configs/mnist.py:paper \\
    --checkpoint=FILE --workdir=workdirs/paper
  python -m cinn_jax.main --config=configs/mnist.py:paper --mode=sample \\
    --workdir=workdirs/paper

The ImageNet network was published with batch norms:

  python -m cinn_jax.importing --config=configs/colorize.py:imagenet \\
    --config.model.norm=batch --checkpoint=FILE --workdir=workdirs/imagenet
"""

from absl import flags, logging

from cinn_jax import cli

flags.adopt_module_key_flags(cli)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The authors' file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder for the new run.")


def _run():
  from cinn_jax.importing.workdir import import_official

  logging.set_verbosity(logging.ERROR)
  import_official(_CHECKPOINT.value, cli.CONFIG.value, _WORKDIR.value)
  print(f"Wrote {_CHECKPOINT.value} to {_WORKDIR.value}, as step 1.")


if __name__ == "__main__":
  cli.run(_run, required=["config", "checkpoint", "workdir"])
