"""The command as a user types it: train, sample, evaluate, and mistakes."""

import json
import pathlib
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image
from skimage.color import rgb2lab

from cinn_jax import cli, main
from cinn_jax.evaluation.calibrate import calibrate
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.images import reading
from cinn_jax.runtime import processes
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.sample import sample
from cinn_jax.training import preflight
from cinn_jax.training.train import train
from tests.support import tiny

ROOT = pathlib.Path(__file__).parent.parent


def _run(*arguments):
  result = subprocess.run(
    [sys.executable, "-m", "cinn_jax.main", *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert "Traceback" not in result.stdout + result.stderr, result.stderr
  return result


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("main") / "run"
  train(tiny.config(), path)
  return path


@pytest.fixture(scope="module")
def outputs(workdir, tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  random = np.random.default_rng(0)
  small = random.integers(0, 256, (6, 9, 3), np.uint8)
  Image.fromarray(small).resize((90, 60)).save(folder / "wide.jpg", quality=95)
  ramp = np.linspace(0, 65535, 64 * 40).astype(np.uint16).reshape(64, 40)
  Image.fromarray(ramp).save(folder / "deep.png")
  (folder / "broken.jpg").write_bytes(b"no picture")
  failed = sample(
    workdir,
    folder / "out",
    inputs=[str(folder / "*")],
    num_samples=3,
    seed=1,
  )
  assert list(failed) == [str(folder / "broken.jpg")]
  return folder


def test_samples_keep_size_depth_and_lightness(outputs):
  for name, suffix, dtype in (
    ("wide", ".jpg", np.uint8),
    ("deep", ".tif", np.uint16),
  ):
    [original] = outputs.glob(f"{name}.*")
    photo = reading.decode(original, keep_depth=True)
    assert photo.dtype == dtype
    for k in (1, 2, 3):
      path = outputs / "out" / f"{name}_{k}{suffix}"
      sample = reading.decode(path, keep_depth=True)
      assert sample.shape == photo.shape and sample.dtype == dtype
      scale = np.iinfo(dtype).max
      lightness = [rgb2lab(p / scale)[..., 0] for p in (photo, sample)]
      # JPEG's own loss on a picture of 8 bits, next to nothing on 16.
      bound = 1.5 if suffix == ".jpg" else 0.01
      assert np.abs(lightness[0] - lightness[1]).mean() < bound


def test_samples_come_with_a_sheet_and_are_ranked(outputs):
  assert (outputs / "out" / "sheet.png").is_file()
  summary = json.loads((outputs / "out" / "samples.json").read_text())
  assert set(summary["pictures"]) == {"wide", "deep"}
  [(name, reason)] = summary["failed"].items()
  assert name.endswith("broken.jpg") and "not a picture" in reason
  for photo in summary["pictures"].values():
    bits = photo["bits_per_dim"]
    assert len(bits) == 3 and bits == sorted(bits)


def test_a_trained_run_needs_no_config(workdir, outputs, tmp_path):
  result = _run(
    *("--mode=sample", "--num_samples=2", f"--workdir={workdir}"),
    *(f"--inputs={outputs}/wide.jpg", f"--inputs={outputs}/broken.jpg"),
    *(f"--outputs={tmp_path}", "--temperature=0,1:0:0"),
  )
  # A failure is listed and has an exit code of its own.
  assert result.returncode == 3, result.stderr
  assert "broken.jpg: not a picture" in result.stderr
  # Each temperature has a folder.
  for name, temperature in (("0", 0.0), ("1_0_0", [1.0, 0.0, 0.0])):
    folder = tmp_path / f"temperature_{name}"
    facts = json.loads((folder / "samples.json").read_text())
    assert facts["settings"]["temperature"] == temperature
    samples = [reading.decode(folder / f"wide_{k}.jpg") for k in (1, 2)]
    assert np.array_equal(*samples) == (temperature == 0)


def test_colorization_without_inputs_is_refused(workdir, tmp_path):
  with pytest.raises(ValueError, match="needs --inputs"):
    sample(workdir, tmp_path / "o")
  assert not (tmp_path / "o").exists()


def test_evaluation_has_reference_rows(workdir, capsys):
  evaluate(workdir, sampling=Sampling(num_samples=2))
  out = capsys.readouterr().out
  assert "bits/dim" in out and "real against itself" in out
  saved = json.loads((workdir / "evaluation.json").read_text())
  text = json.dumps(saved)
  assert "grey" in text and "best_of_n_per_pixel" in text


def test_evaluation_of_other_pictures(workdir, outputs):
  data = {"source": "folder", "path": str(outputs), "validation_fraction": 0.5}
  evaluate(workdir, data=data, sampling=Sampling(num_samples=2))
  saved = json.loads((workdir / "evaluation.json").read_text())
  assert "folder" in saved["source"]
  assert saved["likelihood"]["examples"] != 72


def test_describe_prints_the_published_count():
  result = _run("--config=configs/colorize.py:lsun", "--mode=describe")
  assert result.returncode == 0
  assert "11,010,760" in result.stdout


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["--config=configs/colorize.py:moon"], "no variant 'moon'"),
    (["--config=configs/nonesuch.py"], "nonesuch.py"),
    (["--config=configs/colorize.py", "--config.train.nmu_steps=3"], "nmu"),
    (["--config=configs/colorize.py", "--mode=fly"], "fly"),
    (
      ["--config=configs/colorize.py", "--config.data.source=folder"],
      "folder",
    ),
    (
      ["--config=configs/colorize.py", "--workdir=s3://bucket/run"],
      "'s3://bucket/run' is not a supported path: expected a folder, or gs://",
    ),
    (
      [
        "--config=configs/colorize.py",
        "--mode=sample",
        "--inputs=README.md",
        "--workdir=/nonexistent/run",
      ],
      "No trained checkpoint",
    ),
    (
      [
        "--config=configs/colorize.py",
        "--mode=latent",
        "--config.data.path=x",
        "--config.train.seed=1",
      ],
      "Not used: --config.train.seed. A trained run's",
    ),
    pytest.param(
      [
        "--config=configs/colorize.py",
        "--mode=sample",
        "--inputs=/nonexistent/*.jpg",
      ],
      "No file matches",
      marks=pytest.mark.slow,
    ),
    (
      ["--config=configs/colorize.py", "--mode=sample", "--temperature=1:hot"],
      "temperature '1:hot' is not a number of 0 or more",
    ),
    (
      ["--config=configs/colorize.py", "--mode=sample", "--temperature="],
      "temperature '' is not a number of 0 or more",
    ),
    (
      ["--config=configs/colorize.py", "--mode=report", "--temperature=0,1"],
      "--mode=report takes one --temperature, got '0,1'",
    ),
    (
      ["--config=configs/colorize.py", "--inputs=a.jpg"],
      "--inputs is for --mode=sample, not for --mode=train",
    ),
    (
      ["--config=configs/colorize.py", "--seed=1"],
      "not for --mode=train: set --config.train.seed.",
    ),
    (
      ["--config=configs/colorize.py", "--mode=report", "--nodenoise"],
      "--denoise is for --mode=sample, not for --mode=report",
    ),
    (
      ["--config=configs/colorize.py", "--mode=evaluate", "--outputs=there"],
      "--outputs is for --mode=sample or calibrate or compare or export",
    ),
  ],
)
def test_mistakes_get_one_clear_line(arguments, message, tmp_path):
  if not any("workdir" in a for a in arguments):
    arguments = [*arguments, f"--workdir={tmp_path}/run"]
  result = _run(*arguments)
  assert result.returncode != 0
  assert message in result.stderr + result.stdout


RUN = pathlib.Path("some/run")
OTHER_DATA = {"path": "elsewhere"}


@pytest.mark.usefixtures("parsed")
@pytest.mark.parametrize(
  "mode, callee, given, options",
  [
    (
      "evaluate",
      "evaluate.evaluate",
      {"num_draws": "16", "num_samples": "3", "temperature": "0,1"},
      {
        "outputs": RUN,
        "num_draws": 16,
        "sampling": Sampling(3, [0.0, 1.0], 0),
      },
    ),
    (
      "calibrate",
      "calibrate.calibrate.calibrate",
      {"num_pictures": "9", "level": "8", "seed": "5"},
      {
        "outputs": RUN,
        "sampling": Sampling(calibrate.NUM_SAMPLES, [1.0], 5),
        "num_pictures": 9,
        "level": 8,
      },
    ),
    (
      "calibrate",
      "calibrate.calibrate.calibrate",
      {"num_samples": "4", "outputs": "there"},
      {
        "outputs": "there",
        "sampling": Sampling(4, [1.0], 0),
        "num_pictures": 0,
        "level": 0,
      },
    ),
    (
      "report",
      "run_report.write_report",
      {"num_samples": "3", "seed": "5"},
      {
        "results": RUN,
        "outputs": RUN / "report",
        "sampling": Sampling(3, [1.0], 5),
      },
    ),
    (
      "latent",
      "latent.sheets.draw_latent_sheets",
      {"seed": "5"},
      {"outputs": RUN / "latent", "seed": 5},
    ),
  ],
  ids=["evaluate", "calibrate", "calibrate-there", "report", "latent"],
)
def test_modes_pass_their_flags_on(mode, callee, given, options, monkeypatch):
  monkeypatch.setattr(cli, "other_data", lambda: OTHER_DATA)
  # The copy checks the names of the arguments.
  with (
    mock.patch(f"cinn_jax.evaluation.{callee}", autospec=True) as called,
    flagsaver.as_parsed(**given),
  ):
    main.MODES[mode](None, RUN)
  called.assert_called_once_with(RUN, data=OTHER_DATA, **options)


@pytest.mark.usefixtures("parsed")
@flagsaver.as_parsed(devices="tpu:v5e:2x2")
def test_a_step_that_does_not_fit_exits_with_4(monkeypatch):
  found = preflight.Preflight(2**40, 0, 0, 0, 1e9, {}, "", 1.0)
  monkeypatch.setattr(preflight, "preflight", lambda *args, **options: found)
  with pytest.raises(SystemExit) as caught:
    main.MODES["preflight"](tiny.digits(), None)
  assert caught.value.code == 4
  found = found._replace(arguments=2**20)
  main.MODES["preflight"](tiny.digits(), None)  # It fits, so this returns.


def test_further_processes_leave_no_results(tmp_path, monkeypatch):
  with processes.outputs(tmp_path) as folder:
    assert folder == tmp_path
  monkeypatch.setattr(processes, "is_first", lambda: False)
  with processes.outputs(tmp_path) as folder:
    assert pathlib.Path(folder).is_dir() and folder != tmp_path
  assert not pathlib.Path(folder).exists()


def test_import_is_light():
  code = (
    "import sys, cinn_jax; assert 'jax' not in sys.modules;"
    " cinn_jax.Flow; assert 'tensorflow' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
