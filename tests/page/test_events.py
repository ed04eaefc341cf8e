"""Errors are one sentence, and captions have shares."""

import types

import gradio as gr
import numpy as np
import pytest

from cinn_jax.page import events
from cinn_jax.page.events import Events
from cinn_jax.page.session import Shown
from cinn_jax.page.sessions import Sessions
from tests.support import pictures


@pytest.fixture
def tab():
  return types.SimpleNamespace(session_hash="a")


@pytest.fixture
def page(runs, tmp_path):
  return Events(runs, Sessions(tmp_path / "tabs"))


@pytest.mark.parametrize(
  "name, content, reason",
  [
    ("broken.jpg", b"no picture", "broken.jpg: "),
    (
      "huge.png",
      pictures.huge_png(50_000, 50_000),
      "above the limit of 268 megapixels",
    ),
    ("empty.png", b"", "empty.png: "),
  ],
)
def test_bad_files_make_one_sentence(
  page, tab, tmp_path, name, content, reason
):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(gr.Error) as caught:
    page.drop("colorize", str(path), tab)
  message = caught.value.message
  assert reason in message and "\n" not in message
  assert str(tmp_path) not in message


def test_events_without_a_photograph_say_so(page, tab):
  click = types.SimpleNamespace(index=[1, 2])
  for action in (
    lambda: page.undo(tab),
    lambda: page.click("#ffffff", click, tab),
    lambda: page.draw(-1, 0, "1", False, tab),
    lambda: page.choose(types.SimpleNamespace(index=0), tab),
  ):
    with pytest.raises(gr.Error, match="There is no photograph yet"):
      action()


def test_a_wrong_temperature_makes_one_sentence(page, tab, cat):
  page.drop("colorize", cat, tab)
  for wrong in ("warm", "1:1:1:1:1:1"):
    with pytest.raises(gr.Error, match="temperature"):
      page.draw(-1, 0, wrong, False, tab)


def test_a_closed_tab_is_told_to_load_again(page, tab, cat):
  page.drop("colorize", cat, tab)
  page.unload(tab)
  with pytest.raises(gr.Error, match="load it again"):
    page.undo(tab)


def test_captions_have_shares():
  shown = Shown(["a", "b"], "3x4", "", [0.75, 0.25], False)
  assert events.captioned(shown) == [("a", "1: 75 %"), ("b", "2: 25 %")]
  assert events.captioned(shown._replace(shares=())) == [
    ("a", "1"),
    ("b", "2"),
  ]


def test_painted_pixels_are_the_hole():
  layer = np.zeros((3, 4, 4), np.uint8)
  layer[1, 2, 3] = 200
  painted = events.painted({"background": None, "layers": [layer]})
  assert np.argwhere(painted).tolist() == [[1, 2]]
  assert not events.painted({"background": None, "layers": []}).any()
