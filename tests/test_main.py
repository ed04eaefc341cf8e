"""The command as a user types it: train, sample, evaluate, and mistakes."""

import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest
import skimage.data
from PIL import Image
from skimage.color import rgb2lab

import cinn_jax
from cinn_jax import colorize_photos
from cinn_jax.data import images
from tests import tiny
from tests.data import pictures

ROOT = pathlib.Path(__file__).parents[1]
TINY = "--config=tests/tiny.py"
LAPTOP = "--config=configs/colorize.py"


def _run(*arguments):
  result = subprocess.run(
    [sys.executable, "-m", "cinn_jax.main", *map(str, arguments)],
    cwd=ROOT,
    # As narrow as can be, a broken line would show.
    env={**os.environ, "COLUMNS": "40"},
    capture_output=True,
    text=True,
  )
  assert "Traceback" not in result.stdout + result.stderr, result.stderr
  return result


def _succeed(*arguments):
  result = _run(*arguments)
  assert result.returncode == 0, result.stderr
  return result.stdout


def _photos(folder):
  """A wide JPEG, a 16-bit grey PNG, an 8-bit PNG, and no picture."""
  folder.mkdir()
  photo = skimage.data.coffee()[:200, 100:400]
  Image.fromarray(photo).save(folder / "wide.jpg", quality=95, subsampling=0)
  Image.fromarray(photo[:33, :27]).save(folder / "wide.png")
  ramp = np.linspace(500, 65000, 64 * 40).astype(np.uint16).reshape(64, 40)
  (folder / "deep.png").write_bytes(pictures.png16(ramp))
  (folder / "broken.jpg").write_bytes(b"no picture")
  (folder / "folder.jpg").mkdir()
  return folder


class Trained(NamedTuple):
  workdir: pathlib.Path
  photos: pathlib.Path
  samples: pathlib.Path
  said: dict[str, str]  # what each mode printed


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A tiny run from the command line: trained, sampled, evaluated."""
  folder = tmp_path_factory.mktemp("main")
  photos, workdir = _photos(folder / "photos"), folder / "run"
  inputs, samples = photos / "*", folder / "a" / "samples"
  common = TINY, f"--workdir={workdir}"
  said = {}
  with tiny.quick_compilation(tmp_path_factory.getbasetemp() / "compiled"):
    said["train"] = _succeed(*common, "--config.train.num_steps=3")
    said["sample"] = _succeed(
      *(*common, "--mode=sample", f"--inputs={inputs}"),
      *(f"--outputs={samples}", "--num_samples=3"),
    )
    said["evaluate"] = _succeed(*common, "--mode=evaluate", "--num_samples=2")
    yield Trained(workdir, photos, samples, said)


def test_training_shows_what_it_reached(trained):
  assert "Step 3: validation bits/dim" in trained.said["train"]
  assert (trained.workdir / "sheets" / "step_000003.png").is_file()
  flow, variables = cinn_jax.load(trained.workdir)
  assert flow.event_shape == (8, 8, 2) and "params" in variables


@pytest.mark.parametrize(
  "original, name, suffix, size, dtype, error",
  [
    # JPEG stores rounded luma and chroma: about two levels.
    ("wide.jpg", "wide", ".jpg", (200, 300), np.uint8, 2.5),
    # Half a level; derived in test_color.py.
    ("wide.png", "wide-2", ".png", (33, 27), np.uint8, 0.28),
    ("deep.png", "deep", ".tif", (64, 40), np.uint16, 0.012),
  ],
)
def test_samples_keep_size_depth_and_lightness(
  trained, original, name, suffix, size, dtype, error
):
  def read(path):
    picture = images.decode(path, keep_depth=True)
    assert picture.shape == (*size, 3) and picture.dtype == dtype
    return picture, rgb2lab(picture / np.iinfo(dtype).max)

  _, photo = read(trained.photos / original)
  samples = []
  for k in (1, 2, 3):
    sample, lab = read(trained.samples / f"{name}_{k}{suffix}")
    assert np.abs(lab[..., 0] - photo[..., 0]).max() < error
    assert np.abs(lab[..., 1:] - photo[..., 1:]).mean() > 1
    samples.append(sample.astype(int))
  assert np.abs(samples[0] - samples[1]).mean() > 0.01 * np.iinfo(dtype).max


def test_samples_are_listed_with_what_was_skipped(trained):
  said = trained.said["sample"]
  assert "wide.jpg: 300x200, 3 samples; the model saw it as 16x16" in said
  skipped = f"{trained.photos / 'broken.jpg'}: not a JPEG, PNG, WebP or TIFF"
  assert f"Skipped {skipped}" in said
  summary = json.loads((trained.samples / "samples.json").read_text())
  assert summary["step"] == 3
  assert summary["skipped"] == [skipped]
  photos = {trained.photos / n for n in ("wide.jpg", "wide.png", "deep.png")}
  assert set(map(pathlib.Path, summary["photos"])) == photos
  written = {path.name for path in trained.samples.iterdir()}
  listed = [n for p in summary["photos"].values() for n in p["files"]]
  assert len(listed) == 9
  assert written == {*listed, "sheet.png", "samples.json"}
  for photo in summary["photos"].values():
    bits = photo["bits_per_dim"]
    assert len(set(bits)) == 3 and bits == sorted(bits)


def test_samples_are_shown_on_a_sheet(trained):
  with Image.open(trained.samples / "sheet.png") as sheet:
    cells = np.asarray(sheet)
  # Four columns, of which the first is grey; colour is in the others.
  height, width, _ = cells.shape
  assert width > 4 * 128 and height > 3 * 128
  saturation = np.ptp(cells.astype(int), axis=-1).max(0)
  column = (width - 100) // 4
  assert np.all(saturation[:100] < 10)
  assert saturation[column + 100 :].max() > 40


def test_names_stay_unique():
  paths = ["x/a.jpg", "x/a.png", "y/a.jpg", "y/a-2.jpg", "y/b.png"]
  for order in (paths, paths[::-1]):
    names = colorize_photos._unique_names(order)
    assert len(set(names)) == len(names)
  assert colorize_photos._unique_names(["x/b.png", "x/c.d.jpg"]) == ["b", "c.d"]


def test_evaluation_says_what_the_numbers_are_of(trained):
  said = trained.said["evaluate"]
  results = json.loads((trained.workdir / "evaluation.json").read_text())
  bits = results["likelihood"]
  assert f"bits/dim {bits['bits_per_dim']:.4f} = prior" in said
  assert bits["of"] in said and "gaussian noise 0.05" in bits["of"]
  assert bits["examples"] == 72
  # One unit of x is 11.2 or 16.8 units of Lab.
  unscaled = bits["bits_per_dim"] + np.log2(11.2 * 16.8) / 2
  assert bits["bits_per_dim_of_unscaled_data"] == pytest.approx(unscaled)
  assert results["step"] == 3 and results["seed"] == 0
  assert results["source"].startswith("photos (validation")


def test_evaluation_has_reference_rows(trained):
  results = json.loads((trained.workdir / "evaluation.json").read_text())
  assert list(results["rows"]) == ["samples", "grey", "real against itself"]
  for name, row in results["rows"].items():
    assert f"| {name} " in trained.said["evaluate"]
    assert row["images"] == 72
  marks = [row["mark"] for row in results["rows"].values()]
  assert marks == ["ours", "reference", "reference"]
  samples, grey, real = (row["metrics"] for row in results["rows"].values())
  assert results["rows"]["samples"]["samples"] == 2
  assert {metric["value"] for metric in real.values()} == {0.0}
  assert grey["variance"]["value"] == 0
  rmse = {k: v["value"] for k, v in samples.items()}
  assert rmse["single_rmse"] > grey["single_rmse"]["value"] > 3
  assert rmse["best_of_n_per_pixel"] < rmse["best_of_n_per_image"]
  assert rmse["best_of_n_per_image"] < rmse["mean_rmse"]
  assert rmse["variance"] > 0
  for row in (samples, grey):
    assert row["lightness_error_max"]["value"] < 0.28


def test_describe_counts_without_training():
  said = _succeed(f"{LAPTOP}:lsun", "--mode=describe")
  assert "11,010,760" in said and "level 2 [1024]" in said


COMMON_MISTAKES = {
  "variant": ([f"{LAPTOP}:moon"], "no variant 'moon'; there are laptop, lsun"),
  "setting": (
    [LAPTOP, "--config.train.nmu_steps=3"],
    """no setting 'nmu_steps'. Did you mean "num_steps" instead""",
  ),
  "section": ([LAPTOP, "--config.zzz=3"], "no setting 'zzz'."),
  "value": ([LAPTOP, "--config.train.num_steps=few"], "num_steps=few: invalid"),
  "file": (["--config=configs/none.py"], "No such file or directory: 'configs"),
  "file with settings": (
    ["--config=configs/none.py", "--config.train.num_steps=3"],
    "No such file or directory: 'configs/none.py'",
  ),
  "no config": (["--mode=describe"], "--config must have a value"),
  "mode": ([LAPTOP, "--mode=fly"], "one of <train|evaluate|sample|describe>"),
  "unquoted": ([LAPTOP, "b.jpg", "c.jpg"], "b.jpg c.jpg: is a pattern unquo"),
  "flag": ([LAPTOP, "--wrokdir=x"], "Unknown command line flag 'wrokdir'"),
  "no checkpoint": (
    [LAPTOP, "--mode=sample", "--inputs=setup.cfg"],
    "No trained checkpoint in",
  ),
  "no checkpoint to evaluate": (
    [LAPTOP, "--mode=evaluate"],
    "No trained checkpoint in",
  ),
  "no inputs": ([LAPTOP, "--mode=sample"], "needs --inputs='photos/*.jpg'"),
  "no match": (
    [LAPTOP, "--mode=sample", "--inputs=none/*.jpg"],
    "No file matches --inputs='none/*.jpg'",
  ),
  "no folder": (
    [LAPTOP, "--config.data.source=folder", "--config.data.path=none"],
    "none",
  ),
  "model": (
    [TINY, "--config.model.name=glow"],
    "Unknown model 'glow'; there are haar_colorization, imagenet",
  ),
  "sizes": ([TINY, "--config.task.ab_size=16"], "?"),
}


@pytest.mark.parametrize("mistake", COMMON_MISTAKES)
def test_a_mistake_is_one_clear_line(mistake, tmp_path):
  arguments, message = COMMON_MISTAKES[mistake]
  result = _run(*arguments, f"--workdir={tmp_path / 'run'}")
  assert result.returncode == 1
  assert result.stdout == ""
  [line] = result.stderr.splitlines()
  assert line.startswith("Error: ") and message in line
  assert not (tmp_path / "run").exists()


def test_pictures_that_cannot_be_used_are_one_line(trained):
  with pytest.raises(
    ValueError, match=r"No usable image matches '.*: .*broken"
  ):
    colorize_photos.colorize_photos(
      trained.workdir,
      str(trained.photos / "broken.*"),
      trained.photos / "none",
    )
  assert not (trained.photos / "none").exists()


def test_the_trace_is_there_for_who_asks():
  result = subprocess.run(
    [sys.executable, "-m", "cinn_jax.main", f"{LAPTOP}:moon", "--debug"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert result.returncode == 1 and "Traceback" in result.stderr


def test_importing_imports_next_to_nothing():
  code = (
    "import sys, cinn_jax; assert not {'jax', 'flax'} & set(sys.modules);"
    " cinn_jax.Flow, cinn_jax.load, cinn_jax.make_flow;"
    " assert 'tensorflow' not in sys.modules; assert 'load' in dir(cinn_jax)"
  )
  subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
  with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
    cinn_jax.nonesuch  # noqa: B018
