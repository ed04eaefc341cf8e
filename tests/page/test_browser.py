"""Every step in a real browser: drop, click, choose, download, compare."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data

from cinn_jax.images import reading
from cinn_jax.sampling import hints
from tests.page.test_server import ROOT, Command
from tests.support import browser, pictures

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(browser.find() is None, reason="there is no Chromium"),
]
ZOOMS = (1.0, 1.5)


@pytest.fixture(scope="module")
def command(workdirs, tmp_path_factory):
  folder = tmp_path_factory.mktemp("browser") / "page"
  names = ",".join(workdirs.values())
  command = Command(names, folder)
  yield command
  code, messages = command.stop()
  assert code == 0 and "REQUEST" not in messages, messages
  assert not [*command.temporary.glob("cinn_jax_page_*")]


@pytest.fixture(scope="module")
def chromium():
  from playwright.sync_api import sync_playwright

  with sync_playwright() as play:
    opened = play.chromium.launch(
      executable_path=browser.find(), args=["--no-sandbox"]
    )
    yield opened
    opened.close()


@pytest.fixture
def tab(chromium, command):
  """A function that opens a tab; requests to elsewhere fail the test."""
  contexts, elsewhere, errors = [], [], []

  def open_tab(zoom=1.0, **options):
    context = chromium.new_context(device_scale_factor=zoom, **options)
    contexts.append(context)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
      "request",
      lambda request: (
        request.url.startswith((command.url, "data:", "blob:"))
        or elsewhere.append(request.url)
      ),
    )
    page.goto(command.url)
    page.wait_for_selector("#file")
    return page

  yield open_tab
  for context in contexts:
    context.close()
  assert not elsewhere and not errors


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
  """A photograph that a camera took on its side."""
  path = tmp_path_factory.mktemp("photo") / "turned.jpg"
  path.write_bytes(pictures.oriented(data.coffee()[:, :300], 6, "JPEG"))
  return path


def _sources(page):
  return page.eval_on_selector_all("#answers img", "all => all.map(i => i.src)")


def _wait_for_answers(page, earlier=()):
  page.wait_for_function(
    """earlier => {
      const all = [...document.querySelectorAll("#answers img")];
      return all.length == 8 && all.every(i => !earlier.includes(i.src));
    }""",
    arg=list(earlier),
  )


def _drop(page, path):
  earlier = _sources(page)
  page.set_input_files("#file input[type=file]", str(path))
  _wait_for_answers(page, earlier)


def _download(page, selector, path):
  with page.expect_download() as download:
    page.locator(selector).click()
  download.value.save_as(path)
  return download.value.suggested_filename


@pytest.mark.parametrize("zoom", ZOOMS)
def test_clicks_become_hints_and_downloads_are_the_commands(
  tab, turned, workdirs, tmp_path, zoom
):
  page = tab(zoom, viewport={"width": round(1200 / zoom), "height": 900})
  _drop(page, turned)
  earlier = _sources(page)
  photo = page.locator("#photo img")
  box = photo.bounding_box()
  # The upright photograph is 400 wide and 300 high.
  x, y = 0.9 * box["width"], 0.1 * box["height"]
  photo.click(position={"x": x, "y": y})
  _wait_for_answers(page, earlier)
  earlier = _sources(page)
  photo.click(position={"x": 10, "y": 10})
  _wait_for_answers(page, earlier)
  earlier = _sources(page)
  page.locator("#undo").click()
  _wait_for_answers(page, earlier)
  name = _download(page, "#save", tmp_path / "hints.json")
  assert name == "turned_hints.json"
  [point] = hints.read(tmp_path / "hints.json")
  assert abs(point.x - 360) <= 2 and abs(point.y - 30) <= 2
  assert point.color == (0x1E, 0x5A, 0xA8)

  page.wait_for_function(
    "document.querySelector('#note').innerText.includes('Percentages')"
  )
  page.locator("#answers button").nth(2).click()
  page.wait_for_selector("#compare img")
  page.locator("#render").click()
  page.wait_for_selector("#download", state="visible")
  name = _download(page, "#download", tmp_path / "download.jpg")
  assert name == "turned_3.jpg"
  words = page.locator("#command").inner_text().split()
  words = [word for word in words if word.startswith("--")]
  shutil.copy(turned, tmp_path)
  shutil.copy(tmp_path / "hints.json", tmp_path / "turned_hints.json")
  subprocess.run(
    [sys.executable, "-m", "cinn_jax.main", *words],
    cwd=tmp_path,
    # With the same JAX options as the page.
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    check=True,
  )
  written = tmp_path / "out" / "turned_3.jpg"
  assert written.read_bytes() == (tmp_path / "download.jpg").read_bytes()


def test_tabs_are_separate_and_leave_nothing(tab, command, turned, tmp_path):
  first, second = tab(), tab()
  other = tmp_path / "cat.png"
  Image.fromarray(data.chelsea()).save(other)
  first.set_input_files("#file input[type=file]", str(turned))
  _drop(second, other)
  _wait_for_answers(first)
  pairs = [_sources(page) for page in (first, second)]
  folders = [{source.rsplit("/", 2)[0] for source in s} for s in pairs]
  assert all(len(folder) == 1 for folder in folders)
  assert folders[0] != folders[1]
  tabs = next(command.temporary.glob("cinn_jax_page_*")) / "tabs"
  before = len([*tabs.iterdir()])
  # Closed while it is at work.
  first.locator("#photo img").click()
  first.close()
  second.wait_for_timeout(20_000)
  assert len([*tabs.iterdir()]) == before - 1
  earlier = _sources(second)
  second.locator("#photo img").click()
  _wait_for_answers(second, earlier)


def test_large_and_broken_files(tab, tmp_path):
  page = tab()
  broken = tmp_path / "broken.jpg"
  broken.write_bytes(b"no picture")
  page.set_input_files("#file input[type=file]", str(broken))
  page.get_by_text("broken.jpg: ", exact=False).first.wait_for()
  large = tmp_path / "large.jpg"
  noise = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
  Image.fromarray(noise).resize((8000, 6250)).save(large)
  _drop(page, large)
  page.locator("#answers button").first.click()
  page.wait_for_selector("#compare img")
  page.locator("#render").click()
  page.wait_for_selector("#download", state="visible")
  _download(page, "#download", tmp_path / "result.jpg")
  assert reading.decode(tmp_path / "result.jpg").shape == (6250, 8000, 3)


def test_a_hole_is_painted_and_filled(tab, workdirs, tmp_path):
  page = tab()
  page.locator("#run input").click()
  page.get_by_role("option").filter(
    has_text=pathlib.Path(workdirs["inpaint"]).name
  ).click()
  page.get_by_text("paint over the part to fill").wait_for()
  path = tmp_path / "cup.png"
  Image.fromarray(data.coffee()).save(path)
  page.set_input_files("#file input[type=file]", str(path))
  canvas = page.locator("#hole canvas").first
  canvas.wait_for()
  page.wait_for_timeout(3000)
  box = canvas.bounding_box()
  x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
  page.mouse.move(x, y)
  page.mouse.down()
  page.mouse.move(x + 40, y, steps=5)
  page.mouse.up()
  page.wait_for_timeout(1000)
  page.locator("#fill").click()
  _wait_for_answers(page)
  page.locator("#answers button").first.click()
  page.wait_for_selector("#compare img")
  page.locator("#render").click()
  page.wait_for_selector("#download", state="visible")
  _download(page, "#download", tmp_path / "filled.png")
  changed = reading.decode(tmp_path / "filled.png") != data.coffee()
  rows, columns = np.nonzero(changed.any(-1))
  # Around the middle of 400 x 600, and nowhere else.
  assert 150 < rows.min() <= rows.max() < 250
  assert 250 < columns.min() < 310 < columns.max() < 400
