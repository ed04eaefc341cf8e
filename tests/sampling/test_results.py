"""The folder of samples: interrupted commands, names, and what they list."""

import json

import numpy as np
import pytest

from cinn_jax.images import writing
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import Ranked
from cinn_jax.sampling.results import Results

PICTURE = np.zeros((4, 5, 3), np.uint8)


def _results(folder, only=()):
  return Results(folder, {"seed": 0}, ["given"], "note", only)


def _add(results, item, save=writing.save_png, ranks=None):
  count = len(ranks or range(3))
  ranked = Ranked(np.zeros((3, 2)), np.arange(count), np.zeros(count))
  ranked = ranked._replace(ranks=ranks)
  chunks = [(ranks or [1, 2, 3], [PICTURE] * count)]
  results.add(item, [PICTURE], [1.0] * count, ranked, chunks, ".png", save)


def _item(folder, name="a.jpg", content=b"content"):
  path = folder / name
  path.write_bytes(content)
  return Item("a", str(path))


def test_files_of_an_interrupted_command_are_its_own(tmp_path):
  item, out = _item(tmp_path), tmp_path / "out"

  def stop(path, picture):
    if path.name == "a_3.png":
      raise KeyboardInterrupt
    writing.save_png(path, picture)

  with pytest.raises(KeyboardInterrupt):
    _add(_results(out), item, stop)
  assert sorted(p.name for p in out.glob("*.png")) == ["a_1.png", "a_2.png"]
  again = _results(out)
  assert not again.finished(item)
  _add(again, item)
  assert again.finished(item)
  names = sorted(p.name for p in out.glob("*.png"))
  assert names == ["a_1.png", "a_2.png", "a_3.png"]


def test_an_item_that_failed_midway_leaves_no_files(tmp_path):
  item, out = _item(tmp_path), tmp_path / "out"

  def fail(path, picture):
    if path.name == "a_2.png":
      raise OSError("full")
    writing.save_png(path, picture)

  results = _results(out)
  with pytest.raises(OSError, match="full"):
    _add(results, item, fail)
  results.fail(item, "full")
  assert len(results) == 0 and not list(out.glob("a_*.png"))
  # One that was finished before keeps its samples, even if some were removed.
  _add(results, item)
  (out / "a_2.png").unlink()
  _results(out).fail(item, "unreadable")
  names = sorted(path.name for path in out.glob("a_*.png"))
  assert names == ["a_1.png", "a_3.png"]


def test_other_numbers_take_the_place_of_samples(tmp_path, capsys):
  item, out = _item(tmp_path), tmp_path / "out"
  _add(_results(out), item)
  _add(_results(out, only=[2]), item, ranks=[2])
  text = "Removing 3 samples of a with other numbers"
  assert text in capsys.readouterr().out
  assert [path.name for path in out.glob("a_*.png")] == ["a_2.png"]


def test_a_file_that_an_item_depends_on_counts(tmp_path):
  hole = tmp_path / "a_hole.png"
  hole.write_bytes(b"left")
  item = _item(tmp_path)._replace(more=(str(hole),))
  results = _results(tmp_path / "out")
  _add(results, item)
  assert results.finished(item)
  assert not results.finished(item._replace(more=()))
  hole.write_bytes(b"right")
  assert not results.finished(item)


def test_names_need_not_be_unicode(tmp_path):
  # A name in Latin-1, as Python reads it from an old album.
  item = Item("caf\udce9", str(tmp_path / "caf\udce9.jpg"))
  with open(item.path, "wb") as file:
    file.write(b"content")
  results = _results(tmp_path / "out")
  _add(results, item)
  assert _results(tmp_path / "out").finished(item)


def test_only_keeps_its_numbers_on_the_sheet(tmp_path, monkeypatch):
  from cinn_jax.sampling import results as module

  titles = []
  monkeypatch.setattr(
    module.sheets,
    "contact_sheet",
    lambda rows, columns, *_, **__: titles.append(columns) or rows[0][0],
  )
  item, out = _item(tmp_path), tmp_path / "out"
  results = _results(out, only=[2, 5])
  _add(results, item, ranks=[2, 5])
  results.finish()
  assert titles == [["given", "sample 2", "sample 5"]]
  # Another picture may have others in the same folder.
  other = _results(out, only=[1])
  assert not other.finished(item) and len(other) == 1
  listed = json.loads((out / "samples.json").read_text())["pictures"]["a"]
  assert listed["only"] == [2, 5]
  assert listed["files"] == ["a_2.png", "a_5.png"]


def test_a_file_of_another_folder_is_another_picture(tmp_path, monkeypatch):
  out = tmp_path / "out"
  for name in ("one", "two"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.jpg").write_bytes(name.encode())
    monkeypatch.chdir(tmp_path / name)
    item = Item("a", "a.jpg")
    results = _results(out)
    assert not results.finished(item)
    _add(results, item)
  assert sorted(path.name for path in out.glob("*.png")) == [
    *("a-2_1.png", "a-2_2.png", "a-2_3.png", "a_1.png", "a_2.png", "a_3.png"),
  ]
  # A folder that was moved has the same pictures.
  (tmp_path / "two").rename(tmp_path / "three")
  monkeypatch.chdir(tmp_path / "three")
  assert _results(out).finished(Item("a", "a.jpg"))
  (tmp_path / "three" / "a.jpg").unlink()
  results = _results(out)
  results.fail(Item("a", "a.jpg"), "gone")
  assert results.failed == {"a.jpg": "gone"}


def test_a_changed_picture_is_told(tmp_path, capsys):
  item = _item(tmp_path)
  _add(_results(tmp_path / "out"), item)
  (tmp_path / "a.jpg").write_bytes(b"other")
  _add(_results(tmp_path / "out"), item)
  assert "Removing 3 samples of a as it was before" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["file", "file/out"])
def test_a_file_is_no_folder_for_results(place, tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(ValueError, match=f"--outputs={tmp_path}/{place} is a"):
    _results(tmp_path / place)
