"""A damaged checkpoint is detected and set aside; an older one is used."""

import gc
import shutil

import numpy as np
import orbax.checkpoint as ocp
import pytest

from cinn_jax.runtime import storage
from cinn_jax.workdir.checkpoint import Checkpoints
from cinn_jax.workdir.saved import (
  Damaged,
  newest_intact,
  read_config,
  saved_steps,
)
from tests.support.checkpointing import (
  CONFIG,
  assert_identical,
  files,
  ignore_reader_warnings,
  read_newest,
  save,
  state_at,
)


@pytest.fixture
def collected():
  """Collects garbage within the test, so that warnings are ignored there."""
  yield
  gc.collect()


@ignore_reader_warnings
def test_older_checkpoint_replaces_a_truncated_one(tmp_path, capsys, collected):
  save(tmp_path, {1: 1.0, 2: 1.0})

  def truncate():
    for path in files(tmp_path, 2):
      if "params" in path.parts:
        path.write_bytes(path.read_bytes()[:-20])

  _assert_set_aside(tmp_path, truncate, capsys)
  damaged = tmp_path / "damaged"
  assert sorted(p.name for p in damaged.iterdir()) == ["2", "2-2"]
  assert files(tmp_path, "../damaged/2")


def _assert_set_aside(workdir, truncate, capsys):
  """Checks, twice, that a damaged step 2 is moved and can be saved again."""
  for _ in range(2):
    truncate()
    step, state = read_newest(workdir)
    assert step == 1
    assert_identical(state, state_at(1))
    assert "Step 2 in" in capsys.readouterr().out
    checkpoints = Checkpoints(workdir)
    checkpoints.set_aside(2)
    checkpoints.save(state_at(2), CONFIG, {"bits_per_dim": 1.0})
    checkpoints.close()
    step, state = read_newest(workdir)
    assert step == 2
    assert_identical(state, state_at(2))


# Orbax's other readers notice the failure of one only after it has returned.
@ignore_reader_warnings
class TestBucket:
  def test_truncated_checkpoint_is_set_aside(self, bucket, capsys, collected):
    self._save("gs://bucket/truncated", {1: 1.0, 2: 1.0})

    saved = []

    def truncate():
      saved.append(self._names(bucket, "truncated/checkpoints/2/"))
      for name, item in list(bucket.objects.items()):
        if name.startswith("truncated/checkpoints/2/params/"):
          bucket.objects[name] = item._replace(content=item.content[:-20])

    _assert_set_aside("gs://bucket/truncated", truncate, capsys)
    for name, before in zip(("2", "2-2"), saved, strict=True):
      names = self._names(bucket, f"truncated/damaged/{name}/")
      assert names == before and "commit_success.txt" in names

  def test_incomplete_checkpoint_is_ignored(self, bucket):
    workdir = "gs://bucket/half"
    self._save(workdir, {1: 1.0, 2: 1.0})
    del bucket.objects["half/checkpoints/2/commit_success.txt"]
    assert saved_steps(workdir) == [1]
    checkpoints = Checkpoints(workdir)
    assert checkpoints.latest_step() == 1
    checkpoints.save(state_at(2), CONFIG, {"bits_per_dim": 1.0})
    checkpoints.close()
    assert saved_steps(workdir) == [2, 1]
    assert read_newest(workdir)[0] == 2

  def test_folder_may_be_copied_to_a_bucket(self, bucket, tmp_path):
    save(tmp_path, {1: 1.0})
    storage.upload(tmp_path, "gs://bucket/copied")
    step, state = read_newest("gs://bucket/copied")
    assert step == 1
    assert_identical(state, state_at(1))

  def test_failed_write_raises(self, bucket, monkeypatch, collected):
    workdir = "gs://bucket/refused"
    self._save(workdir, {1: 1.0})
    checkpoints = Checkpoints(workdir)
    monkeypatch.setattr(bucket, "read_only", True)
    with pytest.raises(OSError, match="could not be written"):
      checkpoints.save(state_at(2), CONFIG, None)
      checkpoints.close()
    monkeypatch.setattr(bucket, "read_only", False)
    assert read_newest(workdir)[0] == 1

  def _save(self, workdir, bits):
    checkpoints = Checkpoints(workdir)
    for step, value in bits.items():
      checkpoints.save(state_at(step), CONFIG, {"bits_per_dim": value})
    checkpoints.close()

  def _names(self, bucket, prefix):
    names = [n for n in bucket.objects if n.startswith(prefix)]
    return sorted(n.removeprefix(prefix) for n in names)


@pytest.mark.slow
@ignore_reader_warnings
def test_every_flipped_bit_is_harmless_or_detected(tmp_path, collected):
  save(tmp_path, {1: 1.0})
  random = np.random.default_rng(0)
  detected = 0
  for path in files(tmp_path, 1):
    good = path.read_bytes()
    for _ in range(3):
      bad = bytearray(good)
      bad[random.integers(len(bad))] ^= 1 << random.integers(8)
      path.write_bytes(bad)
      try:
        _, state = read_newest(tmp_path)
      except Damaged:
        detected += 1
      else:
        assert_identical(state, state_at(1))
    path.write_bytes(good)
  assert detected > 5
  assert read_newest(tmp_path)[0] == 1


@pytest.mark.parametrize(
  "bad", [b'{"bits_per_dim": \xb1.0}', b'{"bits_per_dim": ,}', b"[]"]
)
def test_unreadable_metrics_raise(tmp_path, bad):
  save(tmp_path, {1: 1.0})
  path = tmp_path / "checkpoints" / "1" / "metrics" / "metrics"
  path.write_bytes(bad)
  with pytest.raises(Damaged, match=r"step 1 .*: delete .*1/metrics [^\n]*$"):
    Checkpoints(tmp_path)
  shutil.rmtree(path.parent)
  assert_identical(read_newest(tmp_path)[1], state_at(1))


def test_missing_checksums_of_the_average_raise(tmp_path):
  """Checks that this is not taken for a run without an average."""
  save(tmp_path, {1: 1.0})
  path = tmp_path / "checkpoints" / "1" / "checksums" / "metadata"
  path.write_text(path.read_text().replace('"ema"', '"emb"'))
  with pytest.raises(Damaged, match="emb"):
    read_newest(tmp_path)


def test_changed_numbers_raise(tmp_path, monkeypatch):
  save(tmp_path, {1: 1.0})
  read = ocp.Checkpointer.restore

  def flip(self, *arguments, **options):
    restored = read(self, *arguments, **options)
    restored["optimizer"][0]["mu"]["w"] += 1e-3
    return restored

  monkeypatch.setattr(ocp.Checkpointer, "restore", flip)
  with pytest.raises(Damaged, match="checksums of its optimizer differ"):
    read_newest(tmp_path)


def test_unreadable_config_raises(tmp_path):
  save(tmp_path, {1: 1.0})
  path = tmp_path / "checkpoints" / "1" / "config" / "metadata"
  path.write_text(path.read_text()[:-3])
  with pytest.raises(Damaged, match="config of step 1"):
    newest_intact(tmp_path, lambda step: read_config(tmp_path, step))
