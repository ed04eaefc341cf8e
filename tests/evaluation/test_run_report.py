"""The page of a run: its content, and its view in a browser."""

import base64
import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from cinn_jax.evaluation import run_report
from cinn_jax.evaluation.tables import records, table
from cinn_jax.evaluation.tables.page import Page
from cinn_jax.sampling.draw import Sampling
from cinn_jax.workdir.trained import restore
from configs import super_resolution
from tests.support import browser, untrained
from tests.support.tables import METRICS

SAMPLING = Sampling(num_samples=2, temperatures=[0.5], seed=3)
LOG = [
  {"step": 1, "split": "train", "bits_per_dim": 2.0, "grad_norm": 3.0},
  {"step": 2, "split": "train", "bits_per_dim": 1.0, "grad_norm": 2.0},
  {"step": 2, "split": "validation", "bits_per_dim": 1.5},
]
needs_browser = pytest.mark.skipif(
  browser.find() is None, reason=f"no browser ({', '.join(browser.NAMES)})"
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """Writes a run with an `evaluation.json`."""
  path = tmp_path_factory.mktemp("report") / "sr & <more>"
  config = super_resolution.get_config()
  config.model.update(
    {"hidden": (4,), "depths": (1,), "condition_channels": (4,)}
  )
  untrained.make_workdir(config, path)
  (path / "metrics.jsonl").write_text("\n".join(map(json.dumps, LOG)))
  trained = restore(path)
  row = table.Row({"single_rmse": (12.5, 0.5)}, images=72, samples=2)
  records.write_json(
    path / "evaluation.json",
    {"samples": row},
    METRICS,
    likelihood={
      "of": trained.task.description,
      "bits_per_dim": 4.25,
      "bits_prior": 3.25,
      "bits_log_det": 1.0,
      "bits_per_dim_of_unscaled_data": 5.75,
      "nats_without_constant": 2.0,
      "round_trip_error": 1e-6,
      "max_log_scale": 1.0,
      "examples": 72,
      "importance_weighted": {
        "draws": 16,
        "bits_per_dim": 4.125,
        "bits_per_dim_of_unscaled_data": 5.625,
      },
    },
    step=0,
    checkpoint=trained.digest,
    source="photos",
    listing_hash="abc",
    config=trained.config,
    notes=["a note"],
    **SAMPLING._asdict(),
  )
  return path


@pytest.fixture(scope="module")
def page(workdir):
  return run_report.write_report(workdir, sampling=SAMPLING)


def test_page_holds_the_pictures(workdir, page):
  assert page == workdir / "report" / "index.html"
  names = {path.name for path in page.parent.iterdir()}
  files = ("samples_1.png", "samples_2.png", "training.png")
  assert names == {"index.html", *files}
  pictures = re.findall(r"data:image/png;base64,([^\"]+)", page.read_text())
  for name, data in zip(files, pictures, strict=True):
    image = np.asarray(Image.open(page.parent / name))
    assert image.std() > 1
    copy = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(copy, image)


def test_page_says_what_was_measured(page):
  content = html.unescape(page.read_text())
  for text in (
    "over 16 draws of the noise: bits/dim 4.1250",
    "bits/dim 4.2500 = prior",
    "12.50 ± 0.50",
    "a note",
    '"image_cinn"',
    "RMSE of the first sample",
    "temperature 0.5 with seed 3",
    "hardware",
  ):
    assert text in content, text


@needs_browser
def test_page_in_a_browser(page, tmp_path):
  view = browser.view(page, tmp_path)
  assert view["title"].strip() == "sr & <more> at step 0"
  assert len(view["widths"]) == 3 and min(view["widths"]) > 300
  assert view["requests"] == [] and view["console"] == []
  assert view["overflow"] <= 0 and "a note" in view["text"]


@needs_browser
def test_browser_view_reports_problems(tmp_path):
  bad = tmp_path / "bad.html"
  outside = "http://127.0.0.1:9/style.css"
  bad.write_text(
    f'<html><head><link rel="stylesheet" href="{outside}"></head>'
    '<body><img src="data:image/png;base64,AAAA"><div style="width:5000px">a'
    '</div><script>console.error("broken")</script></body></html>'
  )
  view = browser.view(bad, tmp_path)
  assert view["widths"] == [0] and view["overflow"] > 3000
  assert view["requests"] == [outside]
  assert any("broken" in line for line in view["console"])


@pytest.mark.parametrize("change", [{}, {"seed": 4}, {"temperatures": [1.0]}])
def test_evaluates_only_for_other_sampling(workdir, change, monkeypatch):
  calls = []
  monkeypatch.setattr(
    run_report, "evaluate", lambda _, **options: calls.append(options)
  )
  sampling = SAMPLING._replace(**change)
  folders = workdir, workdir / "report"
  arguments = workdir, restore(workdir), None, sampling, folders
  if not change:
    run_report.current_evaluation(*arguments)
    assert calls == []
    return
  # The workdir's own evaluation, which may have taken hours, stays.
  with pytest.raises(FileNotFoundError):
    run_report.current_evaluation(*arguments)
  assert calls == [{"outputs": folders[1], "data": None, "sampling": sampling}]


def test_the_report_keeps_an_evaluation_of_its_own(workdir, monkeypatch):
  folders = workdir, workdir / "report"
  sampling = SAMPLING._replace(seed=4)
  calls = []

  def evaluate(_, outputs, **options):
    calls.append(options)
    content = json.loads((workdir / "evaluation.json").read_text())
    text = json.dumps({**content, "seed": 4})
    (outputs / "evaluation.json").write_text(text)

  monkeypatch.setattr(run_report, "evaluate", evaluate)
  folders[1].mkdir(exist_ok=True)
  arguments = workdir, restore(workdir), None, sampling, folders
  before = (workdir / "evaluation.json").read_bytes()
  try:
    found = [run_report.current_evaluation(*arguments) for _ in range(2)]
  finally:
    (folders[1] / "evaluation.json").unlink()
  assert len(calls) == 1 and found[0][2]["seed"] == 4
  assert (workdir / "evaluation.json").read_bytes() == before


def test_another_checkpoint_is_evaluated_again(workdir, tmp_path, monkeypatch):
  calls = []
  monkeypatch.setattr(run_report, "evaluate", lambda *_, **__: calls.append(1))
  other = restore(workdir)._replace(digest="of another file")
  with pytest.raises(FileNotFoundError):
    run_report.current_evaluation(workdir, other, None, SAMPLING, [tmp_path])
  assert calls


def test_tuples_in_a_config_count_as_lists(workdir, monkeypatch):
  content = json.loads((workdir / "evaluation.json").read_text())
  content["config"]["task"]["size"] = [1, 2]
  trained = restore(workdir)
  trained.config["task"]["size"] = (1, 2)
  evaluation = {}, {}, content
  monkeypatch.setattr(records, "read_json", lambda _: evaluation)
  assert evaluation is run_report.current_evaluation(
    workdir, trained, None, SAMPLING, [workdir]
  )


def test_curves_of_a_log_with_gaps():
  image = run_report.training_curves(LOG)
  assert image.ndim == 3 and image.shape[-1] == 3 and image.std() > 5
  lines = run_report.curve_points(LOG, ("bits_per_dim",))
  assert lines == {"train": ((1, 2), (2.0, 1.0)), "validation": ((2,), (1.5,))}
  assert run_report.curve_points(LOG, ("round_trip_error",)) == {}


def test_page_of_an_empty_log(workdir, tmp_path, monkeypatch):
  with pytest.raises(ValueError, match="has no numbers yet"):
    run_report.training_curves([])
  monkeypatch.setattr(run_report, "read_log", lambda _: [])
  page = run_report.write_report(workdir, outputs=tmp_path, sampling=SAMPLING)
  assert "The log has no numbers yet." in page.read_text()


def test_page_escapes_text(tmp_path):
  page = Page("<b>")
  page.text("<script>")
  page.items(["<i>"])
  page.code("a & b")
  page.write(tmp_path / "new" / "a.html")
  text = (tmp_path / "new" / "a.html").read_text()
  for raw in ("<script>", "<i>", "<b>", "a & b"):
    assert raw not in text
