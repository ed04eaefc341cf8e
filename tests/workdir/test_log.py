"""The log of a run, and what a resumed run drops from it."""

import errno
import json
import struct
import threading
from unittest import mock

import jax
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from cinn_jax.training.monitor import Diverged, Monitor
from cinn_jax.workdir.event_file import EventFile
from cinn_jax.workdir.log import Log


def _lines(folder):
  return (folder / "metrics.jsonl").read_text().splitlines()


def _events(folder):
  """Yields the TensorBoard events of a folder's only file."""
  [file] = (folder / "tensorboard").iterdir()
  data, start = file.read_bytes(), 0
  while start < len(data):
    (length,) = struct.unpack_from("<Q", data, start)
    yield event_pb2.Event.FromString(data[start + 12 : start + 12 + length])
    start += 16 + length


def test_scalars_and_pictures_are_written(tmp_path):
  with Log(tmp_path, 0) as log:
    log.scalars(3, "train", {"bits_per_dim": 1.5})
    log.scalars(3, "validation", {"bits_per_dim": 2.5, "examples": 7})
    log.picture(3, "samples", np.zeros((4, 6, 3), np.uint8))
  assert list(map(json.loads, _lines(tmp_path))) == [
    {"step": 3, "split": "train", "bits_per_dim": 1.5},
    {"step": 3, "split": "validation", "bits_per_dim": 2.5, "examples": 7},
  ]
  values = {
    value.tag: (event.step, value)
    for event in _events(tmp_path)
    for value in event.summary.value
  }
  assert values["train/bits_per_dim"][1].simple_value == 1.5
  assert values["validation/examples"][1].simple_value == 7
  picture = values["samples"][1].image
  assert (picture.height, picture.width) == (4, 6)
  assert {step for step, _ in values.values()} == {3}


def test_resuming_drops_later_lines(tmp_path):
  with Log(tmp_path, 0) as log:
    for step in (10, 20, 30):
      log.scalars(step, "train", {"x": step / 3})
  before = _lines(tmp_path)
  for file in (tmp_path / "tensorboard").iterdir():
    file.unlink()
  with Log(tmp_path, 20) as log:
    assert _lines(tmp_path) == before[:2]
    log.scalars(30, "train", {"x": -1.0})
  assert json.loads(_lines(tmp_path)[2])["x"] == -1.0
  # This makes TensorBoard drop step 21 and later ones of earlier files.
  [start] = [e for e in _events(tmp_path) if e.HasField("session_log")]
  assert start.step == 21


@pytest.mark.parametrize("half", ['{"step": 20, "spl', "{", '{"step": 20}x'])
def test_half_written_last_line_is_dropped(tmp_path, half):
  with Log(tmp_path, 0) as log:
    log.scalars(10, "train", {"x": 1.0})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write(half)
  with Log(tmp_path, 20) as log:
    log.scalars(30, "train", {"x": 2.0})
  assert [json.loads(line)["step"] for line in _lines(tmp_path)] == [10, 30]
  assert not list(tmp_path.rglob("*.part"))


class _Rows(list):
  """A log that keeps its rows."""

  def scalars(self, step, split, values):
    self.append((step, split, values))


def _metrics(bits, log_scale=1.0, skipped=0):
  return {
    "bits_per_dim": np.float32(bits),
    "max_log_scale": log_scale,
    "skipped": np.int32(skipped),
  }


def _monitor(rows, log_every=2, clip_norm=0.0):
  return Monitor(
    rows,
    start=4,
    num_steps=9,
    batch_size=10,
    log_every=log_every,
    clip_norm=clip_norm,
  )


def test_log_gets_means_since_the_last_row(capsys):
  rows = _Rows()
  with _monitor(rows) as monitor:
    batches = iter("abc")
    assert [monitor.next_batch(batches) for _ in range(3)] == ["a", "b", "c"]
    for step, bits, scale in ((5, 8, 1), (6, 2, 3), (7, 6, 2), (8, 4, 1)):
      monitor.add(step, _metrics(bits, scale))
      # Only now is the previous step known to be done.
      assert len(rows) == (step > 6)
    with monitor.pause():
      assert len(rows) == 2
    monitor.write("a line above the bar")
  (first, split, means), (second, _, later) = rows
  assert (first, split, second) == (6, "train", 8)
  assert means["bits_per_dim"] == later["bits_per_dim"] == 5.0
  assert (means["max_log_scale"], later["max_log_scale"]) == (3, 2)
  assert means["images_per_second"] > 0 and 0 < means["data_wait"] < 1
  written = capsys.readouterr()
  assert "a line above the bar" in written.out
  assert "8/9" in written.err and "5.000 bits/dim" in written.err


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_last_of_a_row_that_is_not_finite_ends_the_run(bad):
  rows = _Rows()
  with _monitor(rows, log_every=1) as monitor:
    monitor.add(1_005, _metrics(1.0))
    monitor.add(1_006, _metrics(bad, skipped=5))
    with pytest.raises(Diverged, match=r"1,006: bits_per_dim is not finite"):
      monitor.add(1_007, _metrics(1.0))
  assert [step for step, _, _ in rows] == [1_005]


def test_skipped_steps_are_counted_and_not_averaged(capsys):
  rows = _Rows()
  with _monitor(rows) as monitor:
    for step, bits, skipped in (
      (5, 3.0, 0),
      (6, np.nan, 1),
      (7, np.inf, 1),
      (8, np.nan, 2),
      (9, 5.0, 0),
    ):
      monitor.add(step, _metrics(bits, skipped=skipped))
    with monitor.pause():
      pass
  logged = [
    (step, means["bits_per_dim"], means["skipped_steps"])
    for step, _, means in rows
  ]
  # A row without a finite step is not written; its count joins the next one.
  assert logged == [(6, 3.0, 1), (9, 5.0, 2)]
  written = capsys.readouterr().out
  assert "Step 8: bits_per_dim is not finite: skipped. 5 such" in written


@pytest.mark.parametrize("log_every", [1, 5])
@pytest.mark.parametrize(
  "largest, clip_norm, told",
  [(600, 0, True), (500, 0, False), (600, 10, False)],
)
def test_a_burst_is_told_unless_it_is_clipped(
  largest, clip_norm, told, log_every, capsys
):
  with _monitor(_Rows(), log_every, clip_norm) as monitor:
    for step, norm in enumerate((5.4, 5.0, largest, 5.6, 5.2), 5):
      monitor.add(step, _metrics(1.0) | {"grad_norm": norm})
    with monitor.pause():
      pass
  written = capsys.readouterr().out
  assert ("norm of 6e+02, the median is 5.4." in written) == told
  assert ("--config.optimizer.clip_norm=10." in written) == told


def test_step_that_diverges_is_not_saved():
  with _monitor(_Rows()) as monitor:
    monitor.add(5, _metrics(np.nan, skipped=5))
    with pytest.raises(Diverged, match="Step 5"), monitor.pause():
      pytest.fail("the step would be validated and saved")


def test_pause_does_not_count_as_time(monkeypatch):
  rows = _Rows()
  with monkeypatch.context() as patch:
    now = [0.0]
    patch.setattr("time.perf_counter", lambda: now[0])
    with _monitor(rows) as monitor:
      now[0] += 5
      monitor.add(5, _metrics(1.0))
      with monitor.pause():
        now[0] += 1000
      now[0] += 2
      monitor.add(6, _metrics(1.0))
      with monitor.pause():
        pass
  assert [values["images_per_second"] for _, _, values in rows] == [2.0, 5.0]


def test_share_of_time_waiting_for_data(monkeypatch):
  rows, now = _Rows(), [0.0]

  def slow_batches():
    for seconds in (1, 2, 0):
      now[0] += seconds
      yield "batch"

  with monkeypatch.context() as patch:
    patch.setattr("time.perf_counter", lambda: now[0])
    with _monitor(rows) as monitor:
      batches = slow_batches()
      for step in (5, 6, 7):
        monitor.next_batch(batches)
        now[0] += 4
        monitor.add(step, _metrics(1.0))
      now[0] += 1
      with monitor.pause():
        pass
  # Steps 5 and 6 are reported when 7 is under way: 3 of 15 seconds.
  assert [values["data_wait"] for _, _, values in rows] == [0.2, 0.0]


def test_no_thread_writes_events(tmp_path):
  """One that died would leave the run waiting for it."""
  before = threading.active_count()
  with Log(tmp_path, 0) as log:
    log.scalars(1, "train", {"x": 1.0})
    assert threading.active_count() == before
    # They are there at once.
    assert any(event.summary.value for event in _events(tmp_path))


def test_a_full_disk_ends_the_run_with_advice(tmp_path, monkeypatch):
  full = OSError(errno.ENOSPC, "No space left on device")
  monkeypatch.setattr(EventFile, "scalars", mock.Mock(side_effect=[None, full]))
  message = r"in .* \(No space left .* make room"
  with Log(tmp_path, 0) as log:
    log.scalars(1, "train", {"x": 1.0})
    with pytest.raises(OSError, match=message):
      log.scalars(2, "train", {"x": 1.0})
    # What is left to be written may fail once more.
    with monkeypatch.context() as patch, pytest.raises(OSError, match=message):
      patch.setattr(EventFile, "close", mock.Mock(side_effect=full))
      log.__exit__()


def test_devices_of_two_kinds_have_no_utilisation(monkeypatch):
  devices = [mock.Mock(device_kind=kind) for kind in ("a", "b")]
  monkeypatch.setattr(jax, "devices", lambda: devices)
  rows = _Rows()
  with _monitor(rows) as monitor:
    monitor.set_step_flops(10**9)
    for step in range(5, 9):
      monitor.add(step, _metrics(1.0))
  _, _, means = rows[0]
  assert "flops_per_second" in means and "utilisation" not in means
