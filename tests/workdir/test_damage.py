"""A damaged checkpoint is seen, set aside, and an older one taken."""

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
  read_newest,
  save,
  state_at,
  unheard,
)


@pytest.fixture
def collected():
  """Within the test, what it left behind is let go."""
  yield
  gc.collect()


@unheard
def test_an_older_checkpoint_stands_in_for_a_truncated_one(
  tmp_path, capsys, collected
):
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
  """Step 2, twice: it goes out of the way of a new one, and is not lost."""
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


# Of one array that is refused the others learn after Orbax has left.
@unheard
class TestBucket:
  def test_a_truncated_one_is_set_aside(self, bucket, capsys, collected):
    self._save("gs://bucket/truncated", {1: 1.0, 2: 1.0})

    saved = []

    def truncate():
      saved.append(self._names(bucket, "truncated/checkpoints/2/"))
      for name, there in list(bucket.objects.items()):
        if name.startswith("truncated/checkpoints/2/params/"):
          bucket.objects[name] = there._replace(content=there.content[:-20])

    _assert_set_aside("gs://bucket/truncated", truncate, capsys)
    for name, before in zip(("2", "2-2"), saved, strict=True):
      names = self._names(bucket, f"truncated/damaged/{name}/")
      assert names == before and "commit_success.txt" in names

  def test_one_that_is_not_whole_is_none(self, bucket):
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

  def test_one_of_a_folder_may_be_copied_there(self, bucket, tmp_path):
    save(tmp_path, {1: 1.0})
    storage.upload(tmp_path, "gs://bucket/copied")
    step, state = read_newest("gs://bucket/copied")
    assert step == 1
    assert_identical(state, state_at(1))

  def test_what_cannot_be_written_is_one_line(
    self, bucket, monkeypatch, collected
  ):
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


@unheard
def test_no_flipped_bit_goes_unseen(tmp_path, collected):
  """Either the content is what was saved, or it is not taken."""
  save(tmp_path, {1: 1.0})
  random = np.random.default_rng(0)
  seen = 0
  for path in files(tmp_path, 1):
    good = path.read_bytes()
    for _ in range(3):
      bad = bytearray(good)
      bad[random.integers(len(bad))] ^= 1 << random.integers(8)
      path.write_bytes(bad)
      try:
        _, state = read_newest(tmp_path)
      except Damaged:
        seen += 1
      else:
        assert_identical(state, state_at(1))
    path.write_bytes(good)
  assert seen > 5
  assert read_newest(tmp_path)[0] == 1


@pytest.mark.parametrize(
  "bad", [b'{"bits_per_dim": \xb1.0}', b'{"bits_per_dim": ,}', b"[]"]
)
def test_metrics_that_cannot_be_read_are_one_line(tmp_path, bad):
  save(tmp_path, {1: 1.0})
  path = tmp_path / "checkpoints" / "1" / "metrics" / "metrics"
  path.write_bytes(bad)
  with pytest.raises(Damaged, match=r"step 1 .*: delete .*1/metrics [^\n]*$"):
    Checkpoints(tmp_path)
  shutil.rmtree(path.parent)
  assert_identical(read_newest(tmp_path)[1], state_at(1))


def test_an_average_that_is_not_on_record_is_damaged(tmp_path):
  """It is no run without one."""
  save(tmp_path, {1: 1.0})
  path = tmp_path / "checkpoints" / "1" / "checksums" / "metadata"
  path.write_text(path.read_text().replace('"ema"', '"emb"'))
  with pytest.raises(Damaged, match="emb"):
    read_newest(tmp_path)


def test_what_decodes_but_differs_is_damaged(tmp_path, monkeypatch):
  save(tmp_path, {1: 1.0})
  read = ocp.Checkpointer.restore

  def flip(self, *arguments, **options):
    restored = read(self, *arguments, **options)
    restored["optimizer"][0]["mu"]["w"] += 1e-3
    return restored

  monkeypatch.setattr(ocp.Checkpointer, "restore", flip)
  with pytest.raises(Damaged, match="checksums of its optimizer differ"):
    read_newest(tmp_path)


def test_a_config_that_cannot_be_read_is_damage(tmp_path):
  save(tmp_path, {1: 1.0})
  path = tmp_path / "checkpoints" / "1" / "config" / "metadata"
  path.write_text(path.read_text()[:-3])
  with pytest.raises(Damaged, match="config of step 1"):
    newest_intact(tmp_path, lambda step: read_config(tmp_path, step))
