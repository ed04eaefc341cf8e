"""Views, training for a number of seconds, and levels joined to one file."""

import zipfile

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from cinn_jax import load
from cinn_jax.data import base, prepare_views, sources
from cinn_jax.data.views import Views, Writer
from cinn_jax.experiment import pyramid_recipes
from cinn_jax.images.reading import UnreadableImage
from cinn_jax.training import budget
from cinn_jax.workdir import join, portable
from cinn_jax.workdir.half import to_half
from configs import colorize
from tests.support.pyramids import SMALL

SIZE = 32


def _config(level, path):
  config = ConfigDict(pyramid_recipes.photographs())
  config.data = {"path": str(path)}
  small = {**SMALL, "size": 8, "level": level}
  config.model.update({k: v for k, v in small.items()})
  config.task.update(
    {"image_size": SIZE, "ab_size": 8, "hints": 4, "detail_noise": (0.1,)}
  )
  config.train.batch_size = 4
  return config


@pytest.fixture(scope="module")
def views(tmp_path_factory):
  folder = tmp_path_factory.mktemp("views")
  rng = np.random.default_rng(0)
  with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
    for k in range(24):
      small = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
      picture = Image.fromarray(small).resize((50, 40))
      picture.save(folder / "one.png")
      # The last one equals the first, which is held out.
      name = f"{k:02d}.png"
      if k == 23:
        archive.writestr(name, archive.read("00.png"))
      else:
        archive.write(folder / "one.png", name)
  lines = prepare_views.prepare(
    prepare_views.Photographs(str(folder / "photos.zip")),
    str(folder / "views"),
    num_views=2,
    size=SIZE,
    min_scale=0.5,
    seed=0,
  )
  first, *_ = list(lines)
  assert first.startswith("1 training photograph")
  return folder / "views"


def test_views_hold_crops_and_their_features(views):
  # Of 24, places 0 and 20 are for testing, 1 and 21 for validation.
  counts = {s: len(Views(str(views), s)) for s in ("train", "validation")}
  assert counts == {"train": 2 * 19, "validation": 2}
  one = Views(str(views), "train")[3]
  assert one["image"].shape == (SIZE, SIZE, 3)
  assert one["lightness"].dtype == np.uint8
  assert {k: v.shape for k, v in one.items() if k.startswith("features")} == {
    "features_32": (32, 32, 24),
    "features_16": (16, 16, 40),
    "features_8": (8, 8, 112),
  }
  # A crop of a view would part it from its features.
  assert base.is_cut(Views(str(views), "train"))
  with pytest.raises(ValueError, match="cut already"):
    sources.open_source(
      "views", "train", path=str(views), crop=(0, 1), resize=()
    )
  with pytest.raises(FileNotFoundError, match="prepare_views"):
    Views(str(views / "none"), "train")


def test_the_last_pictures_can_be_held_out(views, tmp_path):
  rng = np.random.default_rng(1)
  known = np.array(Views(str(views), "test")[0]["image"])
  with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
    for name in ("c", "a", "grey", "known", "b", "d"):
      picture = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
      if name == "grey":
        picture = np.repeat(picture[..., :1], 3, -1)
      if name == "known":
        picture = known
      Image.fromarray(picture).save(tmp_path / "one.png")
      archive.write(tmp_path / "one.png", f"{name}.png")
  path = str(tmp_path / "photos.zip")
  # The order is that of the file, not of the names.
  splits = prepare_views.Photographs(path, 0, (1, 1)).splits([known])
  held = {"test": ["d.png"], "validation": ["b.png"]}
  assert splits == ({"train": ["c.png", "a.png"], **held}, 2)
  splits = prepare_views.Photographs(path, 1, (1, 1)).splits([known])
  assert splits == ({"train": ["c.png"], **held}, 0)
  splits = prepare_views.Photographs(path).splits()
  assert splits[0]["train"] == ["c.png", "d.png", "known.png"]
  with pytest.raises(ValueError, match=r"--held_out asks for 6 .* has 6"):
    prepare_views.Photographs(path, 0, (4, 2))


def test_folders_of_views_are_joined(views):
  one = Views(str(views), "train")
  two = Views(f"{views},{views}", "train")
  assert len(two) == 2 * len(one)
  assert two.listing_hash != one.listing_hash
  batch = two.batch(np.array([1, len(one), len(two) - 1]))
  for name, rows in batch.items():
    for row, k in zip(rows, (1, 0, len(one) - 1), strict=True):
      np.testing.assert_array_equal(row, one[k][name])
  with pytest.raises(IndexError):
    _ = two[len(two)]


@pytest.mark.slow
def test_levels_train_and_join(views, tmp_path):
  for level in (4, 8):
    points = []
    config = _config(level, views)
    flow, variables, curve = budget.train(
      config,
      0.5,
      points=2,
      report=lambda curve, *_, points=points: points.append(curve[-1]),
    )
    assert points == curve
    assert curve[-1].steps >= 10
    assert np.isfinite([curve[-1].validation, curve[-1].train]).all()
    assert set(variables["params"]) == {f"levels_{level}"}
    portable.save(tmp_path / f"{level}.safetensors", flow, variables)
  config = _config(0, views)
  # A picture for which the joined flow computes the features itself.
  assert config.model.features == "efficientnet_lite0"
  flow, variables = join.join(config.to_dict(), tmp_path)
  half = to_half(variables)
  run = {"step": 0, "task": {}, "model": {}}
  portable.save(tmp_path / "all.safetensors", flow, half, run=run)
  again, read = load(tmp_path / "all.safetensors")
  dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(read)}
  assert {"float16", "float32"} <= dtypes
  norm = read["params"]["levels_8"]["bijection"]["parts_1"]["block"]
  assert norm["parts_0"]["log_scale"].dtype == np.float32
  cond = {
    "lightness": np.zeros((1, SIZE, SIZE, 1), np.float32),
    "hints": np.zeros((1, 4, 4, 3), np.float32),
  }
  x, log_prob = again.sample(read, jax.random.key(0), cond, num_samples=2)
  assert x.shape == (1, 2, 8, 8, 2)
  assert np.isfinite(log_prob).all()
  (tmp_path / "8.safetensors").write_bytes(
    (tmp_path / "4.safetensors").read_bytes()
  )
  with pytest.raises(ValueError, match="does not hold the level of 8 cells"):
    join.join(config.to_dict(), tmp_path)


def test_the_rate_warms_up_and_falls_to_zero():
  rates = [
    budget.schedule(fraction) for fraction in (0, 0.025, 0.05, 0.525, 1, 2)
  ]
  np.testing.assert_allclose(rates, [0, 0.5, 1, 0.5, 0, 0], atol=1e-9)


def test_a_model_without_features_is_refused():
  with pytest.raises(ValueError, match="not for conditional_gan: use --mode"):
    budget.for_views(colorize.get_config("cgan"))


def test_a_split_that_is_not_complete_is_not_read(tmp_path):
  Writer(tmp_path, "train", 1, SIZE).close()
  assert len(Views(str(tmp_path), "train")) == 1
  (tmp_path / "train" / "features_99.npy").touch()
  Writer(tmp_path, "train", 2, SIZE)
  assert not (tmp_path / "train" / "features_99.npy").exists()
  with pytest.raises(FileNotFoundError, match="holds no views"):
    Views(str(tmp_path), "train")


def test_photographs_that_cannot_be_used_are_named(tmp_path):
  path = str(tmp_path / "photos.zip")
  grey = np.full((SIZE, SIZE, 3), 99, np.uint8)
  Image.fromarray(grey).save(tmp_path / "one.png")
  with zipfile.ZipFile(path, "w") as archive:
    for name in ("a.png", "b.png", "c.png"):
      archive.write(tmp_path / "one.png", name)
    archive.writestr("__MACOSX/._a.png", b"not a picture")
  photographs = prepare_views.Photographs(path)
  assert photographs.names == ["a.png", "b.png", "c.png"]
  with pytest.raises(ValueError, match="left to train on, of 3; 1 are grey"):
    photographs.splits()
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("d.png", b"not a picture")
  with pytest.raises(UnreadableImage, match=r"^d\.png: not a picture"):
    _ = prepare_views.Photographs(path)["d.png"]


def test_a_damaged_zip_is_named(tmp_path):
  (tmp_path / "a.zip").write_bytes(b"no zip")
  with pytest.raises(ValueError, match=r"a\.zip is not a zip file"):
    prepare_views.Photographs(str(tmp_path / "a.zip"))
