"""Trains the run of a config, or draws from it and measures it, by --mode.

  python -m cinn_jax.main --config=configs/colorize.py
  python -m cinn_jax.main --config=configs/colorize.py --mode=sample \\
    --inputs='photos/*.jpg' --outputs=out
  python -m cinn_jax.main --config=configs/mnist.py:digits --mode=sample
  python -m cinn_jax.main --mode=status --workdir=workdirs/colorize
  python -m cinn_jax.main --mode=compare --workdirs=workdirs/A,workdirs/B
"""

import sys

from absl import flags, logging

from cinn_jax import cli
from cinn_jax.evaluation import flags as evaluation
from cinn_jax.runtime import flags as machine
from cinn_jax.runtime import storage
from cinn_jax.sampling import flags as sampling
from cinn_jax.training import flags as training

# Exit codes of --mode=sample, if some pictures could not be answered, and of
# --mode=preflight, if the step needs more memory.
SOME_FAILED, DOES_NOT_FIT = 3, 4
# Modes that train or score, whose memory is worth keeping between steps.
_LONG_MODES = ("train", "evaluate", "calibrate")

for module in (cli, evaluation, machine, sampling, training):
  flags.adopt_module_key_flags(module)
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "The run's folder, or gs://BUCKET/FOLDER (default: workdirs/<config>).",
)
_OUTPUTS = flags.DEFINE_string(
  "outputs",
  "out",
  "For --mode=sample and compare: the folder for results; for --mode=calibrate"
  " too, instead of WORKDIR. For --mode=export: the file (default:"
  " WORKDIR/export.safetensors).",
)
_HALF = flags.DEFINE_bool(
  "half",
  False,
  "For --mode=export: store networks in float16, which halves the file.",
)

# Each mode imports what it needs, so that --help needs no JAX at all.


def _run_of(workdir):
  """Returns the run of a mode: that of the workdir, or a shipped one."""
  from cinn_jax.workdir import same_run, shipped

  run = shipped.for_config(workdir, cli.config_name())
  if cli.CONFIG.value is not None:
    same_run.check_kind(run, cli.CONFIG.value)
  return run


def _train(config, workdir):
  from cinn_jax.training import stopping
  from cinn_jax.training.train import train

  try:
    train(config, workdir, profile=training.PROFILE.value)
  except stopping.Stopped as stopped:
    print(stopped)
    sys.exit(stopping.RESTART)


def _evaluate(config, workdir):
  from cinn_jax.evaluation.evaluate import evaluate

  evaluate(
    _run_of(workdir),
    outputs=workdir,
    data=cli.other_data(),
    num_draws=evaluation.NUM_DRAWS.value,
    sampling=sampling.read_sampling(_MODE.value, several=True),
  )


def _calibrate(config, workdir):
  from cinn_jax.evaluation.calibrate import calibrate

  drawn = sampling.read_sampling(_MODE.value, several=True)
  if not sampling.NUM_SAMPLES.present:
    drawn = drawn._replace(num_samples=calibrate.NUM_SAMPLES)
  given = flags.FLAGS["outputs"].present
  calibrate.calibrate(
    _run_of(workdir),
    outputs=_OUTPUTS.value if given else workdir,
    data=cli.other_data(),
    sampling=drawn,
    num_pictures=evaluation.NUM_PICTURES.value,
    level=evaluation.LEVEL.value,
  )


def _report(config, workdir):
  from cinn_jax.evaluation.run_report import write_report
  from cinn_jax.runtime import processes
  from cinn_jax.workdir.results_folder import results_folder

  folder = results_folder(workdir)
  with processes.outputs(folder / "report") as outputs:
    write_report(
      _run_of(workdir),
      results=workdir,
      outputs=outputs,
      data=cli.other_data(),
      sampling=sampling.read_sampling(_MODE.value),
    )


def _compare(config, workdir):
  from cinn_jax.evaluation.compare import compare

  compare(evaluation.WORKDIRS.value, outputs=_OUTPUTS.value)


def _sample(config, workdir):
  from cinn_jax.runtime import processes
  from cinn_jax.sampling.sample import sample

  run = _run_of(workdir)
  with processes.outputs(_OUTPUTS.value) as outputs:
    failed = sample(
      run,
      outputs,
      data=cli.other_data(),
      calibrated=workdir,
      **sampling.read_options(),
    )
  if failed:
    print(f"{len(failed):,} could not be answered:", file=sys.stderr)
    for name, reason in failed.items():
      print(f"  {name}: {reason}", file=sys.stderr)
    sys.exit(SOME_FAILED)


def _latent(config, workdir):
  from cinn_jax.evaluation.latent.sheets import draw_latent_sheets
  from cinn_jax.runtime import processes
  from cinn_jax.workdir.results_folder import results_folder

  folder = results_folder(workdir)
  with processes.outputs(folder / "latent") as outputs:
    draw_latent_sheets(
      _run_of(workdir),
      outputs=outputs,
      data=cli.other_data(),
      seed=sampling.SEED.value,
    )


def _export(config, workdir):
  from cinn_jax.runtime import processes
  from cinn_jax.workdir.portable import export
  from cinn_jax.workdir.results_folder import results_folder

  given = flags.FLAGS["outputs"].present
  cli.other_data(counts=False)  # Says so.
  folder = results_folder(workdir)
  file = _OUTPUTS.value if given else folder / "export.safetensors"
  file = storage.path(file)
  if file.suffix != ".safetensors":
    raise ValueError(
      f"--outputs={file}: name a file that ends in .safetensors, such as"
      f" {file / 'export.safetensors'}."
    )
  with processes.outputs(file.parent) as folder:
    export(_run_of(workdir), storage.path(folder) / file.name, half=_HALF.value)
  print(f"Written: {file}. cinn_jax.load({str(file)!r}) returns its flow.")


def _describe(config, workdir):
  from cinn_jax.experiment.describe import describe

  print(describe(config))


def _preflight(config, workdir):
  from cinn_jax.runtime import slices
  from cinn_jax.training.preflight import preflight
  from cinn_jax.training.preflight_report import report

  found = preflight(config, training.DEVICES.value, limit=training.LIMIT.value)
  print(report(config, training.DEVICES.value, found))
  if not found.fits(slices.parse(training.DEVICES.value).chip):
    sys.exit(DOES_NOT_FIT)


def _status(config, workdir):
  from cinn_jax.workdir.status import status

  print(status(workdir))


MODES = {
  "train": _train,
  "evaluate": _evaluate,
  "calibrate": _calibrate,
  "report": _report,
  "compare": _compare,
  "sample": _sample,
  "latent": _latent,
  "export": _export,
  "describe": _describe,
  "preflight": _preflight,
  "status": _status,
}
# Modes that open no device: a run at work may hold them all.
_WITHOUT_DEVICES = ("compare", "preflight", "status")
_MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")


# The modes that each flag is for.
_MODES_OF = {
  **sampling.MODES,
  **evaluation.MODES,
  **training.MODES,
  "outputs": ("sample", "calibrate", "compare", "export"),
  "half": ("export",),
}


def _run():
  logging.set_verbosity(logging.WARNING)
  mode = _MODE.value
  cli.check_flags_of(mode, _MODES_OF)
  if mode not in _WITHOUT_DEVICES:
    machine.prepare(keep_memory=mode in _LONG_MODES)
  MODES[mode](cli.CONFIG.value, None if mode == "compare" else _workdir())


def _workdir():
  return storage.path(_WORKDIR.value or cli.default_workdir())


# Modes that take the config from the checkpoint in --workdir.
_FROM_WORKDIR = (
  "calibrate",
  "evaluate",
  "export",
  "latent",
  "report",
  "sample",
  "status",
)


@flags.multi_flags_validator(["config", "mode", "workdir"])
def _names_a_run(values):
  mode = values["mode"]
  if values["config"] is not None or mode == "compare":
    return True
  if mode not in _FROM_WORKDIR:
    raise flags.ValidationError(f"--mode={mode} needs --config=FILE.py.")
  if values["workdir"] is None:
    raise flags.ValidationError(
      "--config=FILE.py is needed, or --workdir=DIR of a trained run."
    )
  return True


if __name__ == "__main__":
  cli.run(_run)
