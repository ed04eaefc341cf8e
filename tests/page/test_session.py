"""Clicks in a tab become hints; downloads equal the command's files."""

import contextlib
import json
import pathlib
import shutil
import threading
import time
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from skimage import data

from cinn_jax.images import reading, writing
from cinn_jax.images.reading import UnreadableImage
from cinn_jax.page import session as session_module
from cinn_jax.page.events import help_of
from cinn_jax.page.opened import DRAWN, Drawn
from cinn_jax.page.session import Gone, Session
from cinn_jax.page.sessions import Sessions
from cinn_jax.page.wishes import Settings
from cinn_jax.sampling import hints
from cinn_jax.sampling.choice import Choice
from cinn_jax.sampling.numbered import Ranked
from cinn_jax.sampling.photos import Steering
from cinn_jax.sampling.sample import sample
from tests.support import pictures

SETTINGS = Settings(seed=5, temperature="0.9")
BLUE = "#1e5aa8"


@pytest.fixture
def opened(session, runs, cat):
  session.open(runs["colorize"], cat)
  return session


def _same(path, folder):
  written = folder / pathlib.Path(path).name
  return pathlib.Path(path).read_bytes() == written.read_bytes()


def test_clicks_are_places_in_the_upright_photograph(session, runs, tmp_path):
  path = tmp_path / "turned.png"
  path.write_bytes(pictures.oriented(data.coffee()[:, :300], 6, "PNG"))
  session.open(runs["colorize"], str(path))
  upright = pictures.upright(data.coffee()[:, :300], 6)
  seen = reading.decode(session.picture())
  assert seen.shape == upright.shape == (300, 400, 3)
  session.add(395, 4, BLUE)
  [point] = session.colors.points
  assert point == hints.Point(395.5, 4.5, (0x1E, 0x5A, 0xA8))
  marked = hints.to_map(session.colors.points, upright.shape[:2], 8)[..., 2]
  assert np.argwhere(marked).tolist() == [[0, 7]]
  # The dot is where the click was.
  seen = reading.decode(session.picture())
  assert pictures.distance(seen[4, 395], np.array(point.color)) < 20


def test_clicks_on_a_reduced_view_are_scaled(session, runs, tmp_path):
  path = tmp_path / "large.png"
  Image.fromarray(data.coffee()).resize((3072, 2048)).save(path)
  session.open(runs["colorize"], str(path))
  session.add(100, 600, BLUE)
  [point] = session.colors.points
  # The view has 1024x683 pixels.
  assert point.x == pytest.approx(301.5)
  assert point.y == pytest.approx(600.5 * 2048 / 683)


def test_hints_are_undone_saved_and_loaded(opened, cat):
  for x in (10, 20, 30):
    opened.add(x, 40, BLUE)
  opened.undo()
  file = opened.save_hints()
  assert pathlib.Path(file).name == "cat_hints.json"
  assert hints.read(file) == list(opened.colors.points)
  assert [point.x for point in opened.colors.points] == [10.5, 20.5]
  opened.clear()
  assert not opened.colors.points
  opened.load_hints(file)
  assert [point.x for point in opened.colors.points] == [10.5, 20.5]


def test_hints_outside_leave_the_earlier_ones(opened, tmp_path):
  opened.add(10, 10, BLUE)
  file = tmp_path / "far.json"
  hints.write(file, [hints.Point(900, 1, (0, 0, 0))])
  with pytest.raises(ValueError, match="outside of the photograph of 451x300"):
    opened.load_hints(str(file))
  assert len(opened.colors.points) == 1


@pytest.mark.slow
@pytest.mark.parametrize("refers", [False, True])
def test_a_download_is_what_the_command_writes(
  opened, workdirs, cat, tmp_path, refers
):
  reference, pixels = tmp_path / "cup.png", None
  if refers:
    pixels = data.coffee()
    Image.fromarray(pixels).save(reference)
    assert opened.refer(str(reference)) >= 4
  opened.add(100, 200, BLUE)
  assert len(opened.draw(SETTINGS).files) == 8
  path, command = opened.render(2)
  steering = Steering(hints.read(opened.save_hints()), pixels)
  for folder, choice in (("all", Choice()), ("one", Choice(only=(3,)))):
    assert not sample(
      workdirs["colorize"],
      tmp_path / folder,
      inputs=[cat],
      seed=5,
      temperatures=[0.9],
      steering=steering,
      choice=choice,
    )
    assert _same(path, tmp_path / folder)
  flags = ["--hints=cat_hints.json", "--seed=5", "--only=3"]
  flags += ["--reference=cup.png"] * refers
  assert all(flag in command for flag in flags)
  # Other colours make another file.
  opened.clear()
  opened.draw(SETTINGS)
  assert not _same(opened.render(2)[0], tmp_path / "all")


@pytest.mark.slow
def test_spread_samples_are_those_of_diverse_8(opened, workdirs, cat, tmp_path):
  shown = opened.draw(SETTINGS._replace(spread=True))
  path, command = opened.render(1)
  assert not sample(
    workdirs["colorize"],
    tmp_path,
    inputs=[cat],
    num_samples=DRAWN,
    seed=5,
    temperatures=[0.9],
    choice=Choice(diverse=8),
  )
  assert _same(path, tmp_path) and "--diverse=8" in command
  assert sum(shown.shares) == pytest.approx(1) and not shown.takes_more


@pytest.mark.slow
def test_shares_are_of_64_samples(opened):
  shown = opened.draw(SETTINGS)
  assert shown.takes_more and not shown.shares
  counted = opened.count()
  assert counted.files == shown.files and len(counted.shares) == 8
  assert sum(counted.shares) == pytest.approx(1)
  assert all(share * DRAWN % 1 == 0 for share in counted.shares)
  assert min(counted.shares) >= 1 / DRAWN


def test_a_later_event_stops_the_count(opened, monkeypatch):
  opened.draw(SETTINGS)
  firsts, draw_more = [], Drawn.draw_more

  def interrupted(drawn, first):
    firsts.append(first)
    opened.draw(SETTINGS._replace(seed=6))
    return draw_more(drawn, first)

  monkeypatch.setattr(Drawn, "draw_more", interrupted)
  assert opened.count() is None and firsts == [8]


def test_only_the_last_of_many_events_draws(opened):
  results = {}

  def draw(name):
    results[name] = opened.draw(SETTINGS)

  threads = [threading.Thread(target=draw, args=[k]) for k in range(3)]
  deadline = time.monotonic() + 60
  with opened._lock:
    for thread in threads:
      latest = opened._event
      thread.start()
      # It takes a number, and waits for its turn.
      while opened._event == latest:
        assert time.monotonic() < deadline
        time.sleep(0.01)
  for thread in threads:
    thread.join(60)
  assert [results[k] is None for k in range(3)] == [True, True, False]


def test_holes_are_painted_and_filled(session, runs, workdirs, cat, tmp_path):
  session.open(runs["inpaint"], cat)
  assert session.draw(Settings()) is None
  with pytest.raises(ValueError, match="Nothing is painted"):
    session.dig(np.zeros((300, 451), bool))
  hole = np.zeros((300, 451), bool)
  hole[100:140, 200:260] = True
  session.dig(hole)
  shown = session.draw(Settings())
  assert len(shown.files) == 8 and not shown.takes_more
  path, _ = session.render(0)
  photo = tmp_path / "cat.jpg"
  photo.write_bytes(pathlib.Path(cat).read_bytes())
  marks = Image.fromarray(hole.astype(np.uint8) * 255)
  marks.save(tmp_path / "cat_hole.png")
  out = tmp_path / "out"
  assert not sample(workdirs["inpaint"], out, inputs=[str(photo)])
  assert _same(path, out)
  kept = reading.decode(path) == reading.decode(cat)
  assert kept[~hole].all() and not kept[hole].all()


def test_small_pictures_are_enlarged(session, runs, workdirs, tmp_path):
  path = tmp_path / "small.png"
  Image.fromarray(data.coffee()).resize((12, 8)).save(path)
  session.open(runs["super_resolution"], str(path))
  session.draw(Settings())
  file, _ = session.render(7)
  out = tmp_path / "out"
  assert not sample(workdirs["super_resolution"], out, inputs=[str(path)])
  assert _same(file, out)


def test_broken_files_are_refused_and_change_nothing(opened, runs, tmp_path):
  path = tmp_path / "broken.jpg"
  path.write_bytes(b"no picture")
  opened.add(9, 9, BLUE)
  before = opened.draw(SETTINGS)
  files = sorted(opened._folder.rglob("*"))
  with pytest.raises(UnreadableImage):
    opened.open(runs["colorize"], str(path))
  assert sorted(opened._folder.rglob("*")) == files
  assert len(opened.colors.points) == 1
  assert opened.compare(0)[1] == before.files[0]


@pytest.mark.parametrize("name", ["shown", "hints", "view-1.jpg"])
def test_photographs_may_have_the_names_of_folders(
  session, runs, cat, tmp_path, name
):
  path = tmp_path / name
  shutil.copy(cat, path)
  for _ in range(2):
    session.open(runs["colorize"], str(path))
    assert pathlib.Path(session.picture()).exists()


def test_uploads_are_copied_before_their_turn(opened, runs, cat, tmp_path):
  """The page removes uploads after a while, but work may take longer."""
  files = [tmp_path / name for name in ("a.jpg", "b.jpg")]
  for file in files:
    shutil.copy(cat, file)
  copied = threading.Event()
  copy = opened._copy

  @contextlib.contextmanager
  def seen(file):
    with copy(file) as own:
      copied.set()
      yield own

  opened._copy = seen
  for act in (lambda f: opened.open(runs["colorize"], f), opened.refer):
    file = files.pop()
    copied.clear()
    with opened._lock:
      thread = threading.Thread(target=act, args=(str(file),))
      thread.start()
      assert copied.wait(60)
      file.unlink()
    thread.join()
  assert opened.picture() and opened.colors.all
  assert [path.name for path in opened._folder.parent.iterdir()] == ["tab"]


def test_hints_of_another_photograph_leave_the_earlier_ones(opened, tmp_path):
  opened.add(9, 9, BLUE)
  path = tmp_path / "hints.json"
  point = {"x": 1, "y": 2, "color": "#ff0000"}
  for content, message in (
    (
      {"other.jpg": [point]},
      "hints.json has no hints for cat.jpg, only for o",
    ),
    ([], r"hints.json has no hints for cat.jpg: load another"),
  ):
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
      opened.load_hints(str(path))
    assert len(opened.colors.points) == 1


def test_a_count_gives_up_if_the_photograph_is_gone(opened, monkeypatch):
  shown = opened.draw(SETTINGS)
  assert shown.order == "The most likely answer comes first."
  draw_more = Drawn.draw_more

  def reset(drawn, first):
    opened.reset()
    return draw_more(drawn, first)

  monkeypatch.setattr(Drawn, "draw_more", reset)
  assert opened.count() is None


def test_the_order_is_that_of_shares_or_of_drawing():
  ranked = Ranked(np.zeros((2, 3)), np.arange(2), np.zeros(2))
  assert "most likely" in session_module._order_of(ranked)
  unknown = ranked._replace(log_prob=np.full(2, np.nan))
  assert "as they were drawn" in session_module._order_of(unknown)
  spread = ranked._replace(shares=[0.6, 0.4])
  assert "largest share" in session_module._order_of(spread)


def test_a_tab_that_is_closed_leaves_nothing(tmp_path, runs, cat):
  sessions = Sessions(tmp_path / "tabs")
  first, second = sessions.of("a"), sessions.of("b")
  assert sessions.of("a") is first is not second
  first.open(runs["colorize"], cat)
  second.open(runs["colorize"], cat)
  first.draw(SETTINGS)
  shown = second.draw(SETTINGS)
  sessions.close("a")
  [folder] = (tmp_path / "tabs").iterdir()
  assert all(pathlib.Path(file).is_relative_to(folder) for file in shown.files)
  assert all(pathlib.Path(file).exists() for file in shown.files)
  for action in (first.undo, lambda: first.open(runs["colorize"], cat)):
    with pytest.raises(Gone, match="load it again"):
      action()
  with pytest.raises(Gone):
    sessions.of("a")
  sessions.close_all()
  assert not (tmp_path / "tabs").exists()


def test_a_tab_that_is_closed_at_work_leaves_nothing(
  tmp_path, runs, cat, monkeypatch
):
  session = Session(tmp_path / "tab")
  session.open(runs["colorize"], cat)
  started, save_photo = threading.Event(), writing.save_photo

  def save(*arguments, **options):
    started.set()
    return save_photo(*arguments, **options)

  monkeypatch.setattr(writing, "save_photo", save)
  worker = threading.Thread(target=session.draw, args=[SETTINGS])
  worker.start()
  assert started.wait(60)
  session.close()
  worker.join(60)
  assert not worker.is_alive() and not (tmp_path / "tab").exists()


def test_runs_without_hints_refuse_them(session, runs, cat, tmp_path):
  plain = runs["colorize"]
  path = tmp_path / "hints.json"
  hints.write(path, [hints.Point(3.5, 4.5, (1, 2, 3))])
  with mock.patch.object(type(plain), "takes_hints", False):
    assert "click" not in help_of(plain)
    session.open(plain, cat)
    for add in (
      lambda: session.add(10, 40, BLUE),
      lambda: session.load_hints(str(path)),
      lambda: session.refer(cat),
    ):
      with pytest.raises(ValueError, match="This run takes no hints"):
        add()
  assert not session.colors.points and not session.colors.matches
  assert "click" in help_of(plain)
