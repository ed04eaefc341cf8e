"""Arrays from pickles and PyTorch files, without running their code."""

import io
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from cinn_jax.runtime import unpickling


def _write(path, content, protocol=3):
  path.write_bytes(pickle.dumps(content, protocol))
  return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_round_trip(tmp_path, protocol):
  rng = np.random.default_rng(0)
  saved = {
    "a": {"kernel": rng.normal(size=(2, 3)).astype(np.float32)},
    "b": [np.asfortranarray(rng.normal(size=(4, 5))), np.arange(3)],
  }
  read = unpickling.load_arrays(_write(tmp_path / "a", saved, protocol))
  for got, want in (
    (read["a"]["kernel"], saved["a"]["kernel"]),
    *zip(read["b"], saved["b"], strict=True),
  ):
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


class _Runs:
  def __reduce__(self):
    return os.mkdir, ("run",)


def test_code_is_not_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = _write(tmp_path / "a", {"a": _Runs()})
  with pytest.raises(ValueError, match=r"mkdir, which makes no array"):
    unpickling.load_arrays(path)
  archive = tmp_path / "b.pt"
  with zipfile.ZipFile(archive, "w") as file:
    file.write(path, "b/data.pkl")
  with pytest.raises(ValueError, match=r"mkdir, which makes no array"):
    unpickling.load_torch(archive)
  assert not (tmp_path / "run").exists()
  # With pickle itself, the same file runs its code.
  pickle.loads(path.read_bytes())
  assert (tmp_path / "run").exists()


def _write_tensor(path, monkeypatch, *arguments):
  """Writes 8 numbers and a view of them, in the format of torch.save."""
  content = _pickle_tensor(monkeypatch, arguments)
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("a/data.pkl", content)
    file.writestr("a/data/0", np.arange(8.0).tobytes())
  return path


def _write_legacy(path, monkeypatch, *arguments, count=8):
  """Writes the same in the format of torch.save before PyTorch 1.6."""
  parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
  content = [pickle.dumps(part, 2) for part in parts]
  content.append(_pickle_tensor(monkeypatch, arguments, None))
  content.append(pickle.dumps(["0"], 2))
  content.append(count.to_bytes(8, "little") + np.arange(8.0).tobytes())
  path.write_bytes(b"".join(content))
  return path


def _pickle_tensor(monkeypatch, arguments, *more):
  torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
  monkeypatch.setitem(sys.modules, "torch", torch)
  monkeypatch.setitem(sys.modules, "torch._utils", utils)
  torch.DoubleStorage = type("DoubleStorage", (), {"__module__": "torch"})
  utils._rebuild_tensor_v2 = lambda: None
  utils._rebuild_tensor_v2.__module__ = "torch._utils"
  utils._rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
  numbers = object()

  class View:
    def __reduce__(self):
      return utils._rebuild_tensor_v2, (numbers, *arguments)

  class Pickler(pickle.Pickler):
    def persistent_id(self, value):
      if value is numbers:
        return ("storage", torch.DoubleStorage, "0", "cpu", 8, *more)
      return None

  stream = io.BytesIO()
  Pickler(stream, 2).dump({"a": View()})
  return stream.getvalue()


@pytest.mark.parametrize("write", [_write_tensor, _write_legacy])
def test_views_of_tensors(tmp_path, monkeypatch, write):
  path = write(tmp_path / "a.pt", monkeypatch, 1, (2, 3), (1, 2))
  expected = [[1, 3, 5], [2, 4, 6]]
  np.testing.assert_array_equal(unpickling.load_torch(path)["a"], expected)


@pytest.mark.parametrize("write", [_write_tensor, _write_legacy])
@pytest.mark.parametrize(
  ("offset", "size", "stride"),
  [(0, (9,), (1,)), (7, (2,), (1,)), (4, (2,), (-1,))],
)
def test_views_beyond_the_numbers_raise(
  tmp_path, monkeypatch, write, offset, size, stride
):
  path = write(tmp_path / "a.pt", monkeypatch, offset, size, stride)
  with pytest.raises(ValueError, match="beyond its numbers"):
    unpickling.load_torch(path)


def test_damaged_files_of_early_torch_raise(tmp_path, monkeypatch):
  path = _write_legacy(tmp_path / "a.pt", monkeypatch, 0, (8,), (1,))
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(ValueError, match="ends early"):
    unpickling.load_torch(path)
  _write_legacy(path, monkeypatch, 0, (8,), (1,), count=7)
  with pytest.raises(ValueError, match="odd storage '0'"):
    unpickling.load_torch(path)


def test_other_files_raise(tmp_path):
  with pytest.raises(FileNotFoundError, match="No file"):
    unpickling.load_arrays(tmp_path / "none")
  path = tmp_path / "text"
  path.write_text("no pickle")
  with pytest.raises(ValueError, match="was not read"):
    unpickling.load_arrays(path)
  with pytest.raises(ValueError, match="not a file that torch"):
    unpickling.load_torch(path)
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("a", "b")
  with pytest.raises(ValueError, match=r"has 0 data\.pkl"):
    unpickling.load_torch(path)


def test_tensors_written_by_torch(tmp_path):
  torch = pytest.importorskip("torch", reason="torch writes the file")
  saved = {
    "a": {"weight": torch.randn(3, 4).T, "steps": torch.tensor(7)},
    "b": torch.nn.Parameter(torch.randn(5)),
    "half": torch.randn(6)[2:].half(),
    "none": torch.zeros(0, 3),
  }
  torch.save(saved, tmp_path / "a.pt")
  read = unpickling.load_torch(tmp_path / "a.pt")
  assert list(read) == ["a.weight", "a.steps", "b", "half", "none"]
  for name, want in (
    *((f"a.{k}", v) for k, v in saved["a"].items()),
    *((k, saved[k]) for k in ("b", "half", "none")),
  ):
    np.testing.assert_array_equal(read[name], want.detach().numpy())


def test_a_damaged_archive_is_named(tmp_path, monkeypatch):
  path = _write_tensor(tmp_path / "a.pt", monkeypatch, 0, (8,), (1,))
  content = bytearray(path.read_bytes())
  content[content.index(np.arange(8.0).tobytes()) + 9] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match="is damaged: Bad CRC-32"):
    unpickling.load_torch(path)
