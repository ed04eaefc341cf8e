"""The command on a small run: files, words, the page, and what is refused.

The run takes about a minute of processor; the numbers have tests of their own.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cinn_jax.evaluation.calibrate import calibrate as command
from cinn_jax.evaluation.calibrate import section
from cinn_jax.evaluation.calibrate.calibrate import calibrate
from cinn_jax.evaluation.tables.page import Page
from cinn_jax.images import reading
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.sample import sample
from cinn_jax.tasks import BUILDERS
from cinn_jax.workdir.trained import restore
from tests.support import tiny, untrained

SAMPLING = Sampling(19, (1.0, [0.5, 0.5, 0.5]), seed=3)
PICTURES = 24
_PLOTS = ("odds", "ranks", "reliability", "sureness")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("calibrate") / "run"
  untrained.make_workdir(tiny.photos(), path, noise=0.05)
  calibrate(path, sampling=SAMPLING, num_pictures=PICTURES)
  return path


@pytest.fixture(scope="module")
def content(run):
  return json.loads((run / "calibration.json").read_text())


@pytest.mark.slow
def test_the_file_says_what_was_measured(run, content):
  assert content["checkpoint"] == restore(run).digest
  assert content["pictures"] == PICTURES
  assert content["num_samples"] == 19 and content["seed"] == 3
  assert content["temperatures"] == [1.0, [0.5, 0.5, 0.5]]
  # Three levels, of an untrained flow, whose pictures are less varied.
  assert len(content["tuned_temperature"]) == 3
  assert max(content["tuned_temperature"]) < 1
  assert "half of the test pictures" in content["notes"][0]
  titles = [part["title"] for part in content["parts"]]
  assert titles[0] == "Latent PIT" and len(titles) == 11
  for temperature in ("1", "0.5:0.5:0.5"):
    assert f"Region PIT, temperature {temperature}" in titles


@pytest.mark.slow
def test_numbers_have_intervals_and_bands(content):
  numbers = {
    (part["title"], line["of"], line["name"]): line
    for part in content["parts"]
    for line in part["lines"]
  }
  ece = numbers["Region PIT, temperature 1", "4x4, a", "ECE"]
  assert ece["interval"][0] <= ece["value"] <= ece["interval"][1]
  assert 0 < ece["band"][0] < ece["band"][1] < 0.1 < ece["value"]
  # Samples at half the temperature hold the truth less often.
  inside = [
    numbers[f"Region PIT, temperature {t}", "8x8, b", "coverage of 80%"]
    for t in ("1", "0.5:0.5:0.5")
  ]
  assert inside[0]["value"] > inside[1]["value"] + 0.05
  after = numbers[
    "Conformal intervals of 90%, temperature 1", "8x8, b", "coverage after"
  ]
  assert after["value"] > 0.75 and after["band"] is None


@pytest.mark.slow
def test_there_are_pictures(run, content):
  folder = run / "calibration"
  names = {path.stem for path in folder.iterdir()}
  assert names == set(content["plots"])
  assert names == {"latents"} | {
    f"{name}_temperature_{t}" for name in _PLOTS for t in ("1", "0.5_0.5_0.5")
  }
  for path in folder.iterdir():
    assert reading.decode(path).std() > 5


@pytest.mark.slow
def test_the_page_shows_it(run, tmp_path):
  page = Page("run")
  trained = restore(run)
  section.add_section(page, run, trained)
  page.write(tmp_path / "a.html")
  text = (tmp_path / "a.html").read_text()
  assert text.count("data:image/png") == 9
  for words in ("24 pictures of photos", "Latent PIT:", "--temperature="):
    assert words in text
  page = Page("other")
  section.add_section(page, run, trained._replace(digest="other"))
  page.write(tmp_path / "b.html")
  text = (tmp_path / "b.html").read_text()
  assert "has not been calibrated" in text and "data:image" not in text


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
  path = tmp_path_factory.mktemp("photo") / "a.png"
  coarse = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
  Image.fromarray(coarse).resize((40, 30)).save(path)
  return path


@pytest.mark.slow
def test_samples_come_with_odds(run, content, photo, tmp_path, capsys):
  folder = tmp_path / "out"
  options = {"inputs": [str(photo)], "num_samples": 2, "odds": True}
  assert not sample(run, folder, **options)
  out = capsys.readouterr().out
  assert "  upper left: " in out and "without conformal" not in out
  listed = json.loads((folder / "samples.json").read_text())
  odds = listed["pictures"]["a"]["odds"]
  assert odds["samples"] == 19 and len(odds["quarters"]) == 4
  assert sum(odds["quarters"][0].values()) == pytest.approx(1, abs=1e-3)
  assert odds["words"][0] in out
  low, high = np.array(odds["intervals"]["a"]).T
  assert len(low) == 16 and np.all(high > low)
  assert reading.decode(folder / odds["file"]).std() > 5


@pytest.mark.slow
@pytest.mark.parametrize(
  "options, message",
  [
    ({"sampling": Sampling(8)}, "needs at least 19 samples"),
    ({"num_pictures": 19}, "needs at least 20"),
    (
      {"sampling": SAMPLING._replace(temperatures=[[1.0, 0.5]])},
      "--temperature=1:0.5 has 2 numbers, but this model has 3 levels",
    ),
    ({"level": 8}, "--level=8 is for a wavelet flow"),
  ],
)
def test_what_is_refused(run, options, message):
  arguments = {"sampling": SAMPLING, "num_pictures": PICTURES, **options}
  with pytest.raises(ValueError, match=message):
    calibrate(run, **arguments)


def test_tasks_exist():
  assert set(command.TASKS) < set(BUILDERS)


def test_other_tasks_are_refused(monkeypatch):
  other = SimpleNamespace(config={"task": {"name": "generate"}})
  monkeypatch.setattr(command, "restore", lambda *_: other)
  with pytest.raises(ValueError, match=r"sketch, .*not for generate"):
    calibrate("run")
