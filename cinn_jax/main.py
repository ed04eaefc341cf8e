"""The command: trains, evaluates, samples or describes what a config says.

  python -m cinn_jax.main --config=configs/colorize.py
  python -m cinn_jax.main --config=configs/colorize.py --mode=sample \\
    --inputs='photos/*.jpg' --outputs=out
  python -m cinn_jax.main --config=configs/mnist.py:digits --mode=sample
  python -m cinn_jax.main --mode=status --workdir=workdirs/colorize
  python -m cinn_jax.main --mode=compare --workdirs=workdirs/A,workdirs/B
"""

import pathlib
import sys

from absl import flags, logging
from ml_collections import config_flags

from cinn_jax import cli
from cinn_jax.runtime import storage
from cinn_jax.sampling import temperatures

MODES = (
  *("train", "evaluate", "report", "compare"),
  *("sample", "latent", "describe", "status"),
)

flags.adopt_module_key_flags(cli)
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "The run's folder, or gs://BUCKET/FOLDER (default: workdirs/<config>).",
)
_WORKDIRS = flags.DEFINE_list(
  "workdirs", [], "For --mode=compare: the evaluated runs' folders, A,B,C."
)
_INPUTS = flags.DEFINE_string(
  "inputs", None, "For --mode=sample of pictures: a glob pattern."
)
_OUTPUTS = flags.DEFINE_string(
  "outputs", "out", "For --mode=sample and compare: the folder for results."
)
_DEGRADE = flags.DEFINE_bool(
  "degrade",
  False,
  "For --mode=sample: --inputs are whole pictures, to be made smaller or drawn"
  " as sketches first.",
)
_SAMPLES = flags.DEFINE_integer(
  "num_samples", 8, "Samples per picture.", lower_bound=1
)
_TEMPERATURES = flags.DEFINE_list(
  "temperature",
  "1",
  "Scale of the latents: 0.8, or one for each that --mode=describe lists,"
  " 1:0.8:0. For --mode=sample also several, 0,0.5,1: each gets a folder in"
  " --outputs.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Of sampling.")
_DRAWS = flags.DEFINE_integer(
  "num_draws",
  1,
  "For --mode=evaluate: of the noise, for an importance-weighted bound.",
  lower_bound=1,
)
_PROFILE = flags.DEFINE_bool(
  "profile", False, "Trace a few steps of training, into WORKDIR/profile."
)
_CACHE = flags.DEFINE_string(
  "compilation_cache",
  "~/.cache/cinn_jax",
  "Folder for compiled programs, for the next start to be quick; empty: none.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of the first of several processes."
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "With --coordinator: how many there are."
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "With --coordinator: which this is, from 0."
)


def _run():
  logging.set_verbosity(logging.WARNING)
  # Each mode imports what it needs: --help needs no JAX at all.
  config, mode = cli.CONFIG.value, _MODE.value
  if mode == "compare":
    from cinn_jax.evaluation.compare import compare

    compare(_WORKDIRS.value, outputs=_OUTPUTS.value)
    return
  workdir = _workdir()
  if mode == "status":
    from cinn_jax.workdir.status import status

    # Before any device is opened: the run may hold them all.
    print(status(workdir))
    return
  from cinn_jax.runtime import compilation_cache, host_memory, processes

  compilation_cache.keep(_CACHE.value)
  if mode in ("train", "evaluate"):
    host_memory.keep_freed_memory()
  processes.initialize(
    _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
  )
  if mode == "describe":
    from cinn_jax.experiment.describe import describe

    print(describe(config))
  elif mode == "train":
    _train(config, workdir)
  elif mode == "evaluate":
    from cinn_jax.evaluation.evaluate import evaluate

    evaluate(
      workdir,
      data=_other_data(),
      num_draws=_DRAWS.value,
      **_sampling(),
    )
  elif mode == "report":
    from cinn_jax.evaluation.run_report import write_report

    with processes.outputs(workdir / "report") as outputs:
      write_report(workdir, outputs=outputs, data=_other_data(), **_sampling())
  elif mode == "latent":
    from cinn_jax.evaluation.latent.sheets import draw_latent_sheets

    with processes.outputs(workdir / "latent") as outputs:
      draw_latent_sheets(
        workdir, outputs=outputs, data=_other_data(), seed=_SEED.value
      )
  else:
    from cinn_jax.sampling.sample import SAMPLERS

    sample = SAMPLERS[config.task.name]
    options = (
      {"degrade": _DEGRADE.value}
      if sample.__name__ == "sample_pictures"
      else {}
    )
    with processes.outputs(_OUTPUTS.value) as outputs:
      for folder, temperature in temperatures.each(
        _TEMPERATURES.value, outputs
      ):
        sample(
          workdir,
          _INPUTS.value,
          folder,
          **_sampling_at(temperature),
          **options,
        )


def _train(config, workdir):
  from cinn_jax.training import stopping
  from cinn_jax.training.train import train

  try:
    train(config, workdir, profile=_PROFILE.value)
  except stopping.Stopped as stopped:
    print(stopped)
    sys.exit(stopping.RESTART)


def _other_data():
  """The --config.data settings, which override those of a checkpoint."""
  given = config_flags.get_override_values(flags.FLAGS["config"])
  data = {
    name.removeprefix("data."): value
    for name, value in given.items()
    if name.startswith("data.")
  }
  if unused := [name for name in given if not name.startswith("data.")]:
    print(
      f"Not used: {', '.join(f'--config.{name}' for name in unused)}. A trained"
      " run's config comes from its checkpoint; only --config.data counts."
    )
  return data


def _sampling():
  if len(_TEMPERATURES.value) != 1:
    raise ValueError(
      f"--mode={_MODE.value} takes one --temperature, got"
      f" {','.join(_TEMPERATURES.value)!r}; --mode=sample takes several."
    )
  return _sampling_at(temperatures.parse(_TEMPERATURES.value[0]))


def _sampling_at(temperature):
  return {
    "num_samples": _SAMPLES.value,
    "temperature": temperature,
    "seed": _SEED.value,
  }


def _workdir():
  """workdirs/colorize for configs/colorize.py; :lsun makes it colorize-lsun.

  And :caflow,scale=4 caflow-scale=4: --workdirs has commas between them.
  """
  if given := _WORKDIR.value:
    return storage.path(given)
  file, _, variant = flags.FLAGS["config"].config_filename.partition(":")
  name = pathlib.Path(file).stem + (f"-{variant}" if variant else "")
  path = pathlib.Path("workdirs") / name.replace(",", "-")
  older = pathlib.Path("workdirs") / name  # Of before commas were replaced.
  return older if older.exists() and not path.exists() else path


@flags.multi_flags_validator(
  ["config", "mode", "workdir"],
  message="--config=FILE.py is needed; for --mode=status --workdir is enough.",
)
def _says_which_run(values):
  mode = values["mode"]
  alone = mode == "compare" or (mode == "status" and values["workdir"])
  return values["config"] is not None or bool(alone)


if __name__ == "__main__":
  cli.run(_run)
