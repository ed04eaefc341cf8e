"""Arrays are read from pickles, and what else they ask for is not."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from cinn_jax.runtime import unpickling


def _write(path, content, protocol=3):
  path.write_bytes(pickle.dumps(content, protocol))
  return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_come_back_as_they_were(tmp_path, protocol):
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


def test_nothing_is_run(tmp_path, monkeypatch):
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
  # The same file, read by pickle itself, does run.
  pickle.loads(path.read_bytes())
  assert (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("size", "stride", "offset"),
  [((9,), (1,), 0), ((2,), (1,), 7), ((2,), (-1,), 4)],
)
def test_a_tensor_stays_within_its_numbers(size, stride, offset):
  with pytest.raises(pickle.UnpicklingError, match="beyond its numbers"):
    unpickling._tensor(np.arange(8.0), offset, size, stride)


def test_other_files_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match="No file"):
    unpickling.load_arrays(tmp_path / "none")
  path = tmp_path / "text"
  path.write_text("no pickle")
  with pytest.raises(ValueError, match="was not read"):
    unpickling.load_arrays(path)
  with pytest.raises(ValueError, match="no zip archive"):
    unpickling.load_torch(path)
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("a", "b")
  with pytest.raises(ValueError, match=r"has 0 data\.pkl"):
    unpickling.load_torch(path)


def test_tensors_of_torch(tmp_path):
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
