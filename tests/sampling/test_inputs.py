"""--inputs: paths, folders and patterns; what is no input; names."""

import os

import pytest

from cinn_jax.sampling.inputs import find


@pytest.fixture
def folder(tmp_path):
  for name in ("b.png", "scan[1].jpg", "a.JPG", "notes.txt", ".x.png"):
    (tmp_path / name).touch()
  (tmp_path / "sub").mkdir()
  (tmp_path / "sub" / "b.png").touch()
  return tmp_path


def _names(inputs, **options):
  return [item.name for item in find(inputs, **options)]


def test_a_path_is_taken_before_it_is_a_pattern(folder):
  assert _names([str(folder / "scan[1].jpg")]) == ["scan[1]"]


def test_a_folder_stands_for_its_pictures(folder):
  assert _names([str(folder)]) == ["a", "b", "scan[1]"]
  assert _names([f"{folder}/"]) == ["a", "b", "scan[1]"]


def test_subfolders_are_kept_in_names(folder):
  assert _names([str(folder)], recursive=True) == [
    *("a", "b", "scan[1]", "sub/b"),
  ]


def test_patterns_match_folders(folder):
  assert _names([f"{folder}/**"]) == ["a", "b", "notes", "scan[1]", "b-2"]


def test_several_inputs_are_joined_without_repeats(folder):
  path = str(folder / "b.png")
  assert _names([path, f"{folder}/*.png", f"{folder}/*.JPG"]) == ["b", "a"]


def test_home_is_expanded(folder, monkeypatch):
  monkeypatch.setenv("HOME", str(folder))
  [item] = find(["~/b.png"])
  assert item.path == str(folder / "b.png")


def test_same_stems_are_numbered_in_any_case(tmp_path):
  for name in ("a.png", "a.jpg", "A.png"):
    (tmp_path / name).touch()
  names = _names([str(tmp_path)])
  assert len({name.casefold() for name in names}) == 3


def test_what_lies_in_outputs_is_no_input(folder):
  out = folder / "out"
  out.mkdir()
  (out / "sheet.png").touch()
  for inputs in (f"{folder}/**", f"{folder}/**/*.png"):
    assert "sheet" not in _names([inputs], outputs=out)
  assert "out/sheet" not in _names([str(folder)], outputs=out, recursive=True)
  # Unless that is what was asked for.
  assert _names([f"{out}/*"], outputs=out) == ["sheet"]


@pytest.mark.parametrize("inputs", ["none/*.jpg", "none.jpg"])
def test_what_matches_nothing_is_named(folder, inputs):
  with pytest.raises(FileNotFoundError, match=f"--inputs='{folder}/none"):
    find([str(folder / "b.png"), os.path.join(folder, inputs)])


def test_no_input_is_refused():
  with pytest.raises(ValueError, match="needs --inputs"):
    find([])


def test_outputs_in_the_home_folder_are_no_inputs(folder, monkeypatch):
  monkeypatch.setenv("HOME", str(folder))
  found = _names([str(folder)], outputs="~/sub", recursive=True)
  assert found == ["a", "b", "scan[1]"]


def test_a_folder_with_brackets_can_start_a_pattern(tmp_path):
  folder = tmp_path / "Holiday [2020]"
  folder.mkdir()
  (folder / "a.jpg").touch()
  assert _names([f"{folder}/*.jpg"]) == ["a"]
  assert _names([f"{tmp_path}/Holiday*/[ab].jpg"]) == ["a"]


def test_a_file_by_other_spellings_is_one(folder, monkeypatch):
  monkeypatch.chdir(folder)
  assert _names(
    ["b.png", "./b.png", "sub/../b.png", str(folder / "b.png")]
  ) == ["b"]
