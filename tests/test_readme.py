"""The commands of README.md and its sister pages do what the pages say.

Short commands run, in a folder with untrained runs in place of trained ones.
Trainings are parsed: their flags, configs and overrides exist.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from configs import colorize, inpaint, mnist, super_resolution
from tests.support import untrained

ROOT = pathlib.Path(__file__).parents[1]
PAGES = (
  "README.md",
  "configs/README.md",
  "launch/README.md",
  "tests/benchmarks/README.md",
  "cinn_jax/weights/README.md",
  "cinn_jax/data/PUBLISHED.md",
)
_MAIN = ["python", "-m", "cinn_jax.main"]
# Parses flags, config and overrides, and stops there.
_PARSE = """
import sys
from absl import flags
from cinn_jax import cli, main
main.cli.app.run = lambda run, flags_parser: flags_parser(sys.argv)
cli.run(lambda: None)
print(cli.CONFIG.value)
"""


def blocks(page, language):
  """Returns the code blocks of a page in a language."""
  text = (ROOT / page).read_text()
  return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(page):
  """Returns the commands of a page as lists of words, without variables."""
  found = []
  for block in blocks(page, "sh"):
    for line in block.replace("\\\n", " ").splitlines():
      words = shlex.split(line, comments=True)
      while words and re.match(r"\w+=", words[0]):
        words.pop(0)
      if words and words[0] not in ("export", "cd"):
        found.append(words)
  return found


def _of_main():
  """All commands of `cinn_jax.main`, without the launcher, by their text."""
  found = {}
  for page in PAGES:
    for words in commands(page):
      for k in range(len(words) - 2):
        if words[k : k + 3] == _MAIN:
          found[" ".join(words[k + 3 :])] = words[k + 3 :]
  return found


MAIN_COMMANDS = _of_main()


def _mode(words):
  modes = [w.partition("=")[2] for w in words if w.startswith("--mode=")]
  return modes[0] if modes else "train"


def _run(words, cwd):
  return subprocess.run(
    words,
    cwd=cwd,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """A folder like a clone's, with runs, photographs, and a picture's hole."""
  folder = tmp_path_factory.mktemp("clone")
  for name in ("configs", "cinn_jax"):
    (folder / name).symlink_to(ROOT / name)
  run = folder / "workdirs" / "mnist-digits"
  untrained.make_workdir(mnist.get_config("digits"), run)
  random = np.random.default_rng(0)
  for name, size in (
    ("photos/a.jpg", (60, 80)),
    ("small/a.png", (8, 8)),
    ("a.jpg", (40, 50)),
  ):
    (folder / name).parent.mkdir(exist_ok=True)
    picture = random.integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(picture).save(folder / name)
  hole = np.zeros((40, 50), np.uint8)
  hole[10:20, 10:20] = 255
  Image.fromarray(hole).save(folder / "a_hole.png")
  return folder


@pytest.fixture(scope="module")
def large_place(place):
  """The same with runs of photographs, which take longer to make."""
  for config in (colorize, inpaint, super_resolution):
    name = config.__name__.rpartition(".")[2]
    untrained.make_workdir(config.get_config(), place / "workdirs" / name)
  return place


def test_pages_have_commands():
  assert len(commands("README.md")) >= 7
  assert len(MAIN_COMMANDS) >= 8


@pytest.mark.parametrize("text", MAIN_COMMANDS)
def test_flags_configs_and_overrides_exist(text):
  words = [word for word in MAIN_COMMANDS[text] if word != "..."]
  result = _run([sys.executable, "-c", _PARSE, *words], ROOT)
  assert result.returncode == 0, result.stdout + result.stderr


def _samples_are_drawn(place, text):
  result = _run([sys.executable, *_MAIN[1:], *MAIN_COMMANDS[text]], place)
  assert result.returncode == 0, result.stdout + result.stderr
  assert "sheet.png" in result.stdout


_SAMPLE = [text for text in MAIN_COMMANDS if "--mode=sample" in text]


@pytest.mark.parametrize("text", [t for t in _SAMPLE if "digits" in t])
def test_samples_of_classes_are_drawn(place, text):
  _samples_are_drawn(place, text)


@pytest.mark.slow
@pytest.mark.parametrize("text", [t for t in _SAMPLE if "digits" not in t])
def test_samples_of_photographs_are_drawn(large_place, text):
  _samples_are_drawn(large_place, text)


def test_the_first_example_in_python_runs(place):
  [first, _] = blocks("README.md", "python")
  check = "\nassert x.shape == (2, 8, 28, 28, 1) and log_prob.shape == (2, 8)"
  result = _run([sys.executable, "-c", first + check], place)
  assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_second_example_in_python_fits(place):
  """The posterior has a mode at each combination of signs."""
  [_, second] = blocks("README.md", "python")
  check = """
from jax import numpy as jnp
near = jnp.abs(jnp.abs(theta[0]) - jnp.array([[1.0, 0.5]])) < 0.4
assert theta.shape == (1, 1000, 2) and near.mean() > 0.8
signs = (theta[0] > 0).astype(int) @ jnp.array([1, 2])
assert jnp.bincount(signs, length=4).min() > 50
"""
  result = _run([sys.executable, "-c", second + check], place)
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_of_commands_exist(page):
  for words in commands(page):
    for k, word in enumerate(words):
      is_file = re.fullmatch(r"(launch|tests|configs)/[\w/]+\.\w+(:.*)?", word)
      if is_file:
        assert (ROOT / word.partition(":")[0]).is_file(), (page, word)
      if word == "-m" and words[k - 1] == "python":
        module = words[k + 1].replace(".", "/")
        paths = (f"{module}.py", f"{module}/__main__.py")
        assert any((ROOT / path).is_file() for path in paths), (page, words)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_of_pages_exist(page):
  text = (ROOT / page).read_text()
  links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
  named = re.findall(r"`((?:cinn_jax|configs|launch|tests)/[\w/.]+\.\w+)", text)
  for name in [*links, *named]:
    if "NAME" in name:
      continue  # A file that the reader is to write.
    places = (ROOT / name, (ROOT / page).parent / name)
    assert any(path.exists() for path in places), (page, name)


@pytest.mark.parametrize("page", PAGES)
def test_links_into_pages_meet_a_heading(page):
  text = (ROOT / page).read_text()
  for file, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", text):
    target = (ROOT / page).parent / file if file else ROOT / page
    headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
    # As GitHub makes them.
    anchors = [
      re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
      for heading in headings
    ]
    assert anchor in anchors, (page, file, anchor)
