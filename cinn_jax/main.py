"""Trains, evaluates, samples or describes what a config says.

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

# The exit code of --mode=sample if some pictures could not be answered.
SOME_FAILED = 3
# Modes that train or score, whose memory is worth keeping between steps.
_LONG_MODES = ("train", "evaluate")

flags.adopt_module_key_flags(cli)
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "The run's folder, or gs://BUCKET/FOLDER (default: workdirs/<config>).",
)
_WORKDIRS = flags.DEFINE_list(
  "workdirs", [], "For --mode=compare: folders of evaluated runs, A,B,C."
)
_INPUTS = flags.DEFINE_multi_string(
  "inputs",
  [],
  "For --mode=sample: a picture, a folder of pictures, or a quoted pattern such"
  " as 'photos/*.jpg'. May be given several times.",
)
_RECURSIVE = flags.DEFINE_bool(
  "recursive",
  False,
  "For --mode=sample: folders in --inputs stand for their subfolders too.",
)
_FORMAT = flags.DEFINE_enum(
  "output_format",
  "",
  ["", "png", "jpg", "webp", "tif"],
  "For --mode=sample: format of the results (default: the input's).",
)
_QUALITY = flags.DEFINE_integer(
  "quality",
  95,
  "For --mode=sample: quality of JPEG and WebP.",
  lower_bound=1,
  upper_bound=100,
)
_OUTPUTS = flags.DEFINE_string(
  "outputs",
  "out",
  "For --mode=sample and compare: the folder for results. For --mode=export:"
  " the file (default: WORKDIR/export.safetensors).",
)
_DEGRADE = flags.DEFINE_bool(
  "degrade",
  False,
  "For --mode=sample: --inputs are whole pictures, to be made smaller or drawn"
  " as sketches first.",
)
_NUM_SAMPLES = flags.DEFINE_integer(
  "num_samples", 8, "Samples per picture.", lower_bound=1
)
_TEMPERATURE = flags.DEFINE_list(
  "temperature",
  "1",
  "Scale of the latents: 0.8, or one for each level that --mode=describe lists,"
  " 1:0.8:0. For --mode=sample also several, 0,0.5,1: each gets a folder in"
  " --outputs.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed for sampling.")
_NUM_DRAWS = flags.DEFINE_integer(
  "num_draws",
  1,
  "For --mode=evaluate: draws of the noise, for an importance-weighted bound.",
  lower_bound=1,
)
_PROFILE = flags.DEFINE_bool(
  "profile", False, "Trace a few steps of training into WORKDIR/profile."
)
_CACHE = flags.DEFINE_string(
  "compilation_cache",
  "~/.cache/cinn_jax",
  "Folder that keeps compiled programs for the next start; empty: none.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of the first of several processes."
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "With --coordinator: the number of processes."
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "With --coordinator: this process's number, from 0."
)


# Each mode imports what it needs, so that --help needs no JAX at all.


def _train(config, workdir):
  from cinn_jax.training import stopping
  from cinn_jax.training.train import train

  try:
    train(config, workdir, profile=_PROFILE.value)
  except stopping.Stopped as stopped:
    print(stopped)
    sys.exit(stopping.RESTART)


def _evaluate(config, workdir):
  from cinn_jax.evaluation.evaluate import evaluate

  evaluate(
    workdir,
    data=_other_data(),
    num_draws=_NUM_DRAWS.value,
    sampling=_sampling(),
  )


def _report(config, workdir):
  from cinn_jax.evaluation.run_report import write_report
  from cinn_jax.runtime import processes

  with processes.outputs(workdir / "report") as outputs:
    write_report(
      workdir, outputs=outputs, data=_other_data(), sampling=_sampling()
    )


def _compare(config, workdir):
  from cinn_jax.evaluation.compare import compare

  compare(_WORKDIRS.value, outputs=_OUTPUTS.value)


def _sample(config, workdir):
  from cinn_jax.runtime import processes
  from cinn_jax.sampling.sample import sample

  with processes.outputs(_OUTPUTS.value) as outputs:
    failed = sample(
      workdir,
      outputs,
      inputs=_INPUTS.value,
      num_samples=_NUM_SAMPLES.value,
      temperatures=_temperatures(),
      seed=_SEED.value,
      degrade=_DEGRADE.value,
      recursive=_RECURSIVE.value,
      output_format=_FORMAT.value,
      quality=_QUALITY.value,
    )
  if failed:
    print(f"{len(failed):,} could not be answered:", file=sys.stderr)
    for name, reason in failed.items():
      print(f"  {name}: {reason}", file=sys.stderr)
    sys.exit(SOME_FAILED)


def _latent(config, workdir):
  from cinn_jax.evaluation.latent.sheets import draw_latent_sheets
  from cinn_jax.runtime import processes

  with processes.outputs(workdir / "latent") as outputs:
    draw_latent_sheets(
      workdir, outputs=outputs, data=_other_data(), seed=_SEED.value
    )


def _export(config, workdir):
  from cinn_jax.runtime import processes
  from cinn_jax.workdir.portable import export

  given = flags.FLAGS["outputs"].present
  file = _OUTPUTS.value if given else workdir / "export.safetensors"
  file = storage.path(file)
  with processes.outputs(file.parent) as folder:
    export(workdir, storage.path(folder) / file.name)
  print(f"Written: {file}. cinn_jax.load({str(file)!r}) returns its flow.")


def _describe(config, workdir):
  from cinn_jax.experiment.describe import describe

  print(describe(config))


def _status(config, workdir):
  from cinn_jax.workdir.status import status

  print(status(workdir))


MODES = {
  "train": _train,
  "evaluate": _evaluate,
  "report": _report,
  "compare": _compare,
  "sample": _sample,
  "latent": _latent,
  "export": _export,
  "describe": _describe,
  "status": _status,
}
# Modes that open no device: a run at work may hold them all.
_WITHOUT_DEVICES = ("compare", "status")
_MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")


def _run():
  logging.set_verbosity(logging.WARNING)
  mode = _MODE.value
  if mode not in _WITHOUT_DEVICES:
    _prepare(mode)
  MODES[mode](cli.CONFIG.value, None if mode == "compare" else _workdir())


def _prepare(mode):
  from cinn_jax.runtime import compilation_cache, host_memory, processes

  compilation_cache.keep(_CACHE.value)
  if mode in _LONG_MODES:
    host_memory.keep_freed_memory()
  processes.initialize(
    _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
  )


def _other_data():
  """Returns the --config.data settings, which override a checkpoint's."""
  if cli.CONFIG.value is None:
    return {}
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


def _temperatures():
  return [temperatures.parse(text) for text in _TEMPERATURE.value or [""]]


def _sampling():
  from cinn_jax.sampling.draw import Sampling

  values = _temperatures()
  if len(values) != 1:
    raise ValueError(
      f"--mode={_MODE.value} takes one --temperature, got"
      f" {','.join(_TEMPERATURE.value)!r}; --mode=sample takes several."
    )
  return Sampling(_NUM_SAMPLES.value, values[0], _SEED.value)


def _workdir():
  """Returns workdirs/colorize for configs/colorize.py, or --workdir.

  `:lsun` makes it colorize-lsun and `:caflow,scale=4` caflow-scale=4, since
  commas separate --workdirs.
  """
  if given := _WORKDIR.value:
    return storage.path(given)
  file, _, variant = flags.FLAGS["config"].config_filename.partition(":")
  name = pathlib.Path(file).stem + (f"-{variant}" if variant else "")
  path = pathlib.Path("workdirs") / name.replace(",", "-")
  older = pathlib.Path("workdirs") / name  # Earlier versions kept commas.
  return older if older.exists() and not path.exists() else path


# Modes that take the config from the checkpoint in --workdir.
_FROM_WORKDIR = ("evaluate", "export", "latent", "report", "sample", "status")


@flags.multi_flags_validator(
  ["config", "mode", "workdir"],
  message="--config=FILE.py is needed, or --workdir=DIR of a trained run.",
)
def _names_a_run(values):
  mode = values["mode"]
  alone = mode in _FROM_WORKDIR and values["workdir"] is not None
  return values["config"] is not None or mode == "compare" or alone


if __name__ == "__main__":
  cli.run(_run)
