"""`--keep`: only the likeliest samples are written, and the list says which."""

import json

import numpy as np
import pytest
from PIL import Image

from cinn_jax.images.reading import UnreadableImage
from cinn_jax.sampling import sample as sampling
from cinn_jax.sampling.choice import Choice
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.over_split import draw_over_split
from cinn_jax.sampling.sample import sample
from cinn_jax.workdir.trained import restore
from tests.support import tiny, untrained

_DRAWN = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "run.safetensors"
  untrained.write_file(tiny.photos(), path)
  return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
  path = tmp_path_factory.mktemp("photo") / "a.png"
  coarse = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
  Image.fromarray(coarse).resize((40, 30)).save(path)
  return str(path)


def _draw(run, photo, folder, **options):
  failed = sample(run, folder, inputs=[photo], num_samples=_DRAWN, **options)
  assert not failed
  content = json.loads((folder / "samples.json").read_text())
  return content, content["pictures"]["a"]


def _pixels(folder, entry):
  return [np.asarray(Image.open(folder / file)) for file in entry["files"]]


def test_the_likeliest_are_kept(run, photo, tmp_path, capsys, monkeypatch):
  captions = []
  results = sampling.Results
  monkeypatch.setattr(
    sampling,
    "Results",
    lambda *args, **kwargs: (
      captions.append(args[-1]) or results(*args, **kwargs)
    ),
  )
  _, everything = _draw(run, photo, tmp_path / "all")
  content, kept = _draw(run, photo, tmp_path / "kept", choice=Choice(keep=2))
  assert sorted(everything["draws"]) == list(range(_DRAWN))
  assert everything["draws"] != list(range(_DRAWN))
  assert kept["draws"] == everything["draws"][:2]
  assert kept["files"] == ["a_1.png", "a_2.png"]
  assert kept["bits_per_dim"] == everything["bits_per_dim"][:2]
  assert kept["bits_per_dim"] == sorted(kept["bits_per_dim"])
  assert content["settings"]["keep"] == 2
  assert {path.name for path in (tmp_path / "kept").iterdir()} == {
    *("a_1.png", "a_2.png", "samples.json", "sheet.png"),
  }
  for one, other in zip(
    _pixels(tmp_path / "kept", kept),
    _pixels(tmp_path / "all", everything)[:2],
    strict=True,
  ):
    np.testing.assert_array_equal(one, other)
  assert "the likeliest 2 of 6 samples" in capsys.readouterr().out
  assert captions == [
    "samples in order of likelihood, temperature 1",
    "the likeliest 2 of 6 samples: samples in order of likelihood,"
    " temperature 1",
  ]


def test_another_number_to_keep_is_another_setting(run, photo, tmp_path):
  _draw(run, photo, tmp_path, choice=Choice(keep=3))
  _, kept = _draw(run, photo, tmp_path, choice=Choice(keep=1))
  assert len(kept["files"]) == 1
  assert not (tmp_path / "a_3.png").exists()


@pytest.mark.parametrize("keep", [0, -1, 7])
def test_bad_numbers_to_keep(run, photo, tmp_path, keep):
  message = f"--keep={keep} of --num_samples=6: expected 1 to 6"
  with pytest.raises(ValueError, match=message):
    _draw(run, photo, tmp_path / "out", choice=Choice(keep=keep))
  assert not (tmp_path / "out").exists()


def test_a_batch_without_a_sound_picture_is_left_out(run):
  trained = restore(run)

  class LastIsDamaged:
    name, listing_hash = "some", "0"

    def __len__(self):
      return 17

    def __getitem__(self, index):
      if index == 16:
        raise UnreadableImage("last.jpg", "truncated")
      return {"image": np.full((32, 32, 3), 9 * index, np.uint8)}

  batches = list(draw_over_split(trained, LastIsDamaged(), Sampling(1)))
  assert [len(given) for _, given, _ in batches] == [16]
