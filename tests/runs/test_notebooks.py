"""The notebooks run from the first cell to the last, and keep their outputs.

The settings of each are in a cell with the tag "parameters". The tests replace
them with tiny ones, and run the notebook in its own kernel and folder.
"""

import pathlib
import re
import tempfile

import nbclient
import nbformat
import pytest

from tests.support import tiny, untrained

ROOT = pathlib.Path(__file__).parents[2]
PATHS = {path.stem: path for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
TINY = {
  "colorize": {"WORKDIR": "colorize", "NUM_SAMPLES": 2},
  "digits": {
    "WORKDIR": "digits",
    "DATA": {},
    "NUM_SAMPLES": 2,
    "NUM_ENCODED": 12,
  },
  "own_flow": {"NUM_STEPS": 2, "NUM_SAMPLES": 2},
  "inverse_problem": {
    "NUM_EPOCHS": 1,
    "NUM_TRUTHS": 12,
    "NUM_SAMPLES": 9,
    "NUM_POSTERIOR": 50,
  },
}
# The runs that some of them load.
RUNS = {"colorize": tiny.photos, "digits": tiny.digits}
# Runs before the first cell, with the settings of the tests. The kernel itself
# warns when it ends.
STRICT = """
import warnings, jax
warnings.simplefilter("error")
warnings.filterwarnings("default", module="ipykernel")
jax.config.update("jax_numpy_rank_promotion", "raise")
"""


def _read(name):
  return nbformat.read(PATHS[name], as_version=4)


def _code(notebook, tag=None):
  return [
    cell
    for cell in notebook.cells
    if cell.cell_type == "code"
    and (tag is None or tag in cell.metadata.get("tags", ()))
  ]


def _set(notebook, settings):
  """Replaces settings; each must be there."""
  (cell,) = _code(notebook, "parameters")
  for name, value in settings.items():
    line = re.compile(rf"^{name} = .*$", re.MULTILINE)
    cell.source, count = line.subn(f"{name} = {value!r}", cell.source)
    assert count == 1, name


def _run(notebook, folder, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
  client = nbclient.NotebookClient(
    notebook,
    timeout=300,
    kernel_name="python3",
    resources={"metadata": {"path": str(folder)}},
  )
  # Sockets in a folder need no network. Their paths must be short.
  with tempfile.TemporaryDirectory() as sockets:
    client.create_kernel_manager()
    client.km.transport, client.km.ip = "ipc", f"{sockets}/kernel"
    client.execute()


def test_every_notebook_has_tiny_settings():
  assert set(PATHS) == set(TINY)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_notebook_runs(name, tmp_path, monkeypatch):
  if name in RUNS:
    untrained.make_workdir(RUNS[name](), tmp_path / name)
  notebook = _read(name)
  _set(notebook, TINY[name])
  _run(notebook, tmp_path, monkeypatch)
  assert all(cell.execution_count for cell in _code(notebook))


def test_cell_that_raises_or_warns_fails(tmp_path, monkeypatch):
  for source, error in (
    ("1 / 0", "ZeroDivisionError"),
    ("warnings.warn('old')", "UserWarning"),
  ):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source)]
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=error):
      _run(notebook, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", TINY)
def test_committed_outputs_are_of_one_run(name):
  notebook = _read(name)
  assert 8 <= len(notebook.cells) <= 15
  cells = _code(notebook)
  # The cells ran in order in a fresh kernel.
  counts = [cell.execution_count for cell in cells]
  assert counts == list(range(1, len(cells) + 1))
  outputs = [output for cell in cells for output in cell.outputs]
  kinds = {output.output_type for output in outputs}
  assert kinds <= {"stream", "execute_result", "display_data"}
  streams = {out.name for out in outputs if out.output_type == "stream"}
  assert streams <= {"stdout"}
  pictures = [out for out in outputs if "image" in str(out.get("data", {}))]
  assert len(pictures) >= 2


@pytest.mark.parametrize("name", TINY)
def test_committed_files_are_small_and_clean(name):
  text = PATHS[name].read_text()
  assert len(text) < 300_000
  for trace in (r"/home/", r"/tmp/", r"/root", r"/usr/", r"C:\\\\", r"\\r"):
    assert not re.search(trace, text), trace
  metadata = _read(name).metadata
  assert metadata.kernelspec.name == "python3"
  assert metadata.kernelspec.display_name == "Python 3"
  for cell in _read(name).cells:
    assert set(cell.metadata) <= {"tags"}


def test_own_flow_takes_under_forty_lines():
  cells = _code(_read("own_flow"), "forty-lines")
  lines = [line for cell in cells for line in cell.source.splitlines()]
  assert len(cells) == 4
  assert sum(bool(line.strip()) for line in lines) < 40
