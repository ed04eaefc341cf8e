"""The rooms of the package: imports go down only, and types fit.

Reads the imports of every file, those inside functions too.
"""

import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "cinn_jax"
# From low to high: a room imports rooms before it, and itself.
ORDER = (
  "runtime",
  "images",
  "likelihood",
  "bijections",
  "flow",
  "models",
  "tasks",
  "data",
  "experiment",
  "workdir",
  "sampling",
  "evaluation",
  "training",
  "cli",
  "importing",
  "page",
  "main",
)
# Commands inside rooms parse their flags by `cli`, which imports no room.
_BY_COMMANDS = "cli"


def _room(path):
  return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path):
  """Yields the rooms that a file imports from."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      module = node.module or ""
      if module == "cinn_jax":
        yield from (alias.name for alias in node.names)
      elif module.startswith("cinn_jax."):
        yield module.split(".")[1]
    elif isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.startswith("cinn_jax."):
          yield alias.name.split(".")[1]


def test_imports_go_down_only():
  height = {room: k for k, room in enumerate(ORDER)}
  upward = [
    f"{path.relative_to(ROOT)} imports {room}"
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
    for room in _imports(path)
    if room != _BY_COMMANDS and height[room] > height[_room(path)]
  ]
  assert not upward, "\n".join(upward)
  assert list(_imports(PACKAGE / "cli.py")) == []


def test_the_ground_floor_has_five_modules():
  names = {path.name for path in PACKAGE.glob("*.py")}
  assert names == {
    "__init__.py",
    "cli.py",
    "flow.py",
    "likelihood.py",
    "main.py",
  }
  rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
  assert rooms | {name.removesuffix(".py") for name in names} - {
    "__init__",
  } == set(ORDER)


def test_mypy_is_clean():
  result = subprocess.run(
    [sys.executable, "-m", "mypy", "cinn_jax"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stdout + result.stderr
