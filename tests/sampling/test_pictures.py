"""Samples of whole pictures: what is given, what comes out, what is refused."""

import importlib
import json

import jax
import numpy as np
import optax
import pytest
from PIL import Image
from skimage.color import rgb2lab

from cinn_jax.data import loader
from cinn_jax.experiment.build import build, open_source
from cinn_jax.images import reading, sheets
from cinn_jax.sampling.sample import sample
from cinn_jax.training.step import make_train_step
from cinn_jax.workdir.state import init_state
from cinn_jax.workdir.trained import restore
from tests.support import slow
from tests.support.untrained import make_workdir

SIZE = 8
NAMES = ("colorize_rgb", "inpaint", "sketch", "super_resolution")


def _config(name):
  """configs/NAME.py, shrunk to seconds."""
  tiny = importlib.import_module(f"configs.{name}").get_config()
  tiny.model.update(
    {
      "hidden": (4,),
      "depths": (1,),
      "condition_channels": (4,),
      "condition_convolutions": 1,
      "injector": False,
    }
  )
  tiny.task.image_size = SIZE
  return tiny


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
  """A workdir by task; with noise, samples depend on the condition."""
  folder = tmp_path_factory.mktemp("runs")
  for name in NAMES:
    make_workdir(_config(name), folder / name, noise=0.1)
  return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  rng = np.random.default_rng(0)
  for name, shape in (("odd", (5, 7)), ("wide", (20, 30))):
    picture = rng.integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(picture).save(folder / f"{name}.png")
  (folder / "broken.png").write_bytes(b"no picture")
  return folder


def _outputs(folder):
  return {
    path.stem: reading.decode(path)
    for path in folder.glob("*.png")
    if path.stem != "sheet"
  }


def _noting(noted):
  draw = sheets.contact_sheet

  def noting(rows, *arguments, **options):
    noted.append(rows)
    return draw(rows, *arguments, **options)

  return noting


@pytest.mark.parametrize(
  "name", slow.all_but(("super_resolution", "sketch"), NAMES)
)
def test_two_steps_of_training(name):
  config = _config(name)
  flow, task = build(config)
  optimizer = optax.adam(1e-2)
  batches = loader.training_batches(
    open_source(config, task, "train"),
    image_size=SIZE,
    batch_size=8,
    seed=0,
    num_threads=1,
  )
  batch = next(batches)
  batches.close()
  state = jax.jit(
    lambda batch: init_state(jax.random.key(0), flow, task, optimizer, batch)
  )(batch)
  step = jax.jit(make_train_step(flow, task, optimizer, seed=0, ema_decay=0.9))
  bits = []
  for _ in range(3):
    state, metrics = step(state, batch)
    bits.append(float(metrics["bits_per_dim"]) + 8)
  assert 2 < bits[0] < 9
  assert bits[2] < bits[0]


def test_test_pictures_are_answered_without_inputs(workdirs, tmp_path):
  sample(workdirs / "inpaint", tmp_path, num_samples=2)
  made = _outputs(tmp_path)
  assert len(made) == 16 and (tmp_path / "sheet.png").is_file()
  facts = json.loads((tmp_path / "samples.json").read_text())
  assert facts["settings"]["step"] == 0 and len(facts["pictures"]) == 8
  for picture in facts["pictures"].values():
    bits = picture["bits_per_dim"]
    assert len(bits) == 2 and bits == sorted(bits)
  trained = restore(workdirs / "inpaint")
  truth = trained.pictures("test", 8)["image"]
  hole = np.s_[2:5, 2:5]  # Of area 0.15.
  for k, picture in enumerate(truth):
    shown = made[f"test_{k + 1}_1"].astype(int)
    error = np.abs(shown - picture).sum(-1) > 0
    assert error[hole].mean() > 0.5
    error[hole] = False
    assert not error.any()


def test_small_pictures_of_any_size_are_enlarged(
  workdirs, photos, tmp_path, capsys, monkeypatch
):
  noted = []
  monkeypatch.setattr(sheets, "contact_sheet", _noting(noted))
  failed = sample(
    workdirs / "super_resolution",
    tmp_path,
    inputs=[str(photos / "*")],
    num_samples=1,
  )
  made = _outputs(tmp_path)
  # What is shown as given is so, without what it was extended by.
  small = [reading.decode(photos / f"{name}.png") for name in ("odd", "wide")]
  for (given, _), truth in zip(noted[0], small, strict=True):
    np.testing.assert_array_equal(given, truth)
  assert made["odd_1"].shape == (20, 28, 3)
  assert made["wide_1"].shape == (80, 120, 3)
  facts = json.loads((tmp_path / "samples.json").read_text())
  assert failed == facts["failed"]
  assert list(failed) == [str(photos / "broken.png")]
  assert "broken.png: failed: not a picture" in capsys.readouterr().out


def test_whole_pictures_are_made_smaller_first(workdirs, photos, tmp_path):
  sample(
    workdirs / "super_resolution",
    tmp_path,
    inputs=[str(photos / f"{name}.png") for name in ("odd", "wide")],
    num_samples=1,
    degrade=True,
  )
  made = _outputs(tmp_path)
  assert made["odd_1"].shape == made["wide_1"].shape == (SIZE, SIZE, 3)
  # They share their latents, so they differ by what was given.
  assert (made["odd_1"] != made["wide_1"]).mean() > 0.1


def test_sketches_are_taken_as_they_are_or_drawn(workdirs, photos, tmp_path):
  for degrade in (False, True):
    sample(
      workdirs / "sketch",
      tmp_path / str(degrade),
      inputs=[str(photos / "wide.png")],
      num_samples=1,
      degrade=degrade,
    )
    shape = (SIZE, SIZE, 3) if degrade else (20, 30, 3)
    assert _outputs(tmp_path / str(degrade))["wide_1"].shape == shape
  as_is, drawn = (
    reading.decode(tmp_path / str(degrade) / "sheet.png")
    for degrade in (False, True)
  )
  # Only what was drawn from a picture has that as its truth beside it.
  assert as_is.shape[1] < drawn.shape[1]


def test_holes_lie_beside_their_pictures(workdirs, tmp_path):
  photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
  hole = np.zeros((SIZE, SIZE), np.uint8)
  hole[:3] = 255
  Image.fromarray(photo).save(tmp_path / "a.png")
  Image.fromarray(hole).save(tmp_path / "a_hole.png")
  out = tmp_path / "out"
  sample(
    workdirs / "inpaint", out, inputs=[str(tmp_path / "*.png")], num_samples=1
  )
  made = _outputs(out)
  assert list(made) == ["a_1"]
  np.testing.assert_array_equal(made["a_1"][3:], photo[3:])
  assert (made["a_1"][:3] != photo[:3]).any()


def test_holes_are_told_from_pictures(workdirs, tmp_path):
  photo = Image.fromarray(np.full((SIZE, SIZE, 3), 90, np.uint8))
  photo.save(tmp_path / "a.png")
  photo.save(tmp_path / "black_hole.png")  # No picture is called black.
  hole = Image.new("L", (SIZE // 2, SIZE))
  hole.save(tmp_path / "a_hole.PNG")
  alone, holes = str(tmp_path / "a.png"), str(tmp_path / "*_hole.*")
  inpaint, out = workdirs / "inpaint", tmp_path / "out"
  failed = sample(inpaint, out, inputs=[alone])
  assert "4x8 pixels for a picture of 8x8" in failed[alone]
  sample(inpaint, out, inputs=[holes], num_samples=1)
  assert list(_outputs(out)) == ["black_hole_1"]
  (tmp_path / "black_hole.png").unlink()
  with pytest.raises(ValueError, match="matches holes alone"):
    sample(inpaint, out, inputs=[holes])
  # For other tasks it is a name like any other.
  other = tmp_path / "other"
  sample(workdirs / "sketch", other, inputs=[holes], num_samples=1)
  assert list(_outputs(other)) == ["a_hole_1"]


def test_pictures_too_large_to_enlarge_are_refused(workdirs, tmp_path):
  path = str(tmp_path / "large.png")
  Image.new("RGB", (600, 600)).save(path)
  failed = sample(workdirs / "super_resolution", tmp_path / "o", inputs=[path])
  assert "make it at most 262,144 pixels" in failed[path]


def _photo(shape, seed=0, dtype=np.uint8):
  highest = np.iinfo(dtype).max
  coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
  small = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC)
  return (np.asarray(small).astype(np.uint32) * highest // 255).astype(dtype)


def test_colours_come_back_at_the_photographs_size(workdirs, tmp_path):
  photo = _photo((40, 60))
  Image.fromarray(photo).save(tmp_path / "a.png")
  run, out = workdirs / "colorize_rgb", tmp_path / "out"
  sample(run, out, inputs=[str(tmp_path / "a.png")], num_samples=1)
  answer = _outputs(out)["a_1"]
  assert answer.shape == photo.shape
  lightness = [rgb2lab(picture)[..., 0] for picture in (photo, answer)]
  assert np.abs(lightness[0] - lightness[1]).max() < 1.0
  assert (answer != photo).any()


@pytest.mark.parametrize(
  "where", [np.s_[3:9, 40:50], np.s_[:, 20:], np.s_[0:1]]
)
def test_holes_are_filled_where_they_are(workdirs, tmp_path, where):
  photo, hole = _photo((40, 60)), np.zeros((40, 60), bool)
  hole[where] = True
  Image.fromarray(photo).save(tmp_path / "a.png")
  Image.fromarray(hole).save(tmp_path / "a_hole.png")
  out = tmp_path / "out"
  inputs = [str(tmp_path / "a.png")]
  assert not sample(workdirs / "inpaint", out, inputs=inputs, num_samples=1)
  answer = _outputs(out)["a_1"]
  np.testing.assert_array_equal(answer[~hole], photo[~hole])
  assert (answer[hole] != photo[hole]).any(axis=-1).mean() > 0.5


def test_a_photograph_without_a_hole_gets_the_runs_own(workdirs, tmp_path):
  photo = _photo((40, 60))
  Image.fromarray(photo).save(tmp_path / "a.png")
  out = tmp_path / "out"
  sample(workdirs / "inpaint", out, inputs=[str(tmp_path)], num_samples=1)
  changed = (_outputs(out)["a_1"] != photo).any(axis=-1)
  rows, columns = np.nonzero(changed)
  # The middle three of eight pixels, in the central square.
  assert rows.min() >= 10 and rows.max() < 25 and changed[10:25].any()
  assert columns.min() >= 20 and columns.max() < 35


def test_a_hole_on_a_transparent_layer_is_what_is_opaque(workdirs, tmp_path):
  photo, layer = _photo((40, 60)), np.zeros((40, 60, 4), np.uint8)
  layer[5:9, 5:9, 3] = 255  # Black strokes.
  Image.fromarray(photo).save(tmp_path / "a.png")
  Image.fromarray(layer).save(tmp_path / "a_hole.png")
  out, path = tmp_path / "out", str(tmp_path / "a.png")
  sample(workdirs / "inpaint", out, inputs=[path], num_samples=1)
  changed = (_outputs(out)["a_1"] != photo).any(axis=-1)
  assert changed[5:9, 5:9].mean() > 0.5
  changed[5:9, 5:9] = False
  assert not changed.any()
  for value, marks in ((0, "nothing"), (255, "everything")):
    Image.fromarray(np.full((40, 60), value, np.uint8)).save(
      tmp_path / "a_hole.png"
    )
    failed = sample(workdirs / "inpaint", out, inputs=[path], seed=1)
    assert f"marks {marks} as hole" in failed[path]
