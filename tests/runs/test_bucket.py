"""A run in a bucket: the same results as in a folder."""

import json
import pathlib
import signal
import subprocess
import sys
import time
from unittest import mock

import jax
import numpy as np
import pytest

import cinn_jax
from cinn_jax.evaluation.by_task import classifier
from cinn_jax.evaluation.compare import compare
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.images import writing
from cinn_jax.runtime import storage
from cinn_jax.sampling.draw import Sampling
from cinn_jax.training import diagnosis, monitor, profiling
from cinn_jax.training.stopping import Stopped
from cinn_jax.training.train import train
from cinn_jax.workdir import lease
from cinn_jax.workdir.saved import saved_steps
from cinn_jax.workdir.status import status
from tests.support import tiny
from tests.support.signals import signal_once

RUN = "gs://bucket/some/run"


def _config():
  return tiny.digits(
    num_steps=5, log_every=2, eval_every=2, sheet_every=4, batch_size=16
  )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Returns the workdir of a run in a folder."""
  path = tmp_path_factory.mktemp("folder") / "run"
  train(_config(), path)
  return path


@pytest.fixture(scope="module")
def run(bucket):
  """Returns the workdir of a run that was stopped and resumed."""
  with pytest.MonkeyPatch.context() as patch:
    signal_once(
      patch,
      monitor.Monitor,
      "add",
      signal.SIGTERM,
      lambda step, metrics: step == 3,
    )
    with pytest.raises(Stopped, match=f"Saved step 3 of 5 in {RUN}"):
      train(_config(), RUN)
  assert saved_steps(RUN) == [3, 2]
  train(_config(), RUN)
  return RUN


def _names(bucket, folder):
  return sorted(
    name.removeprefix(folder)
    for name in list(bucket.objects)
    if name.startswith(folder)
  )


@pytest.mark.slow
def test_parameters_equal_those_in_a_folder(run, folder):
  results = [cinn_jax.load(workdir)[1] for workdir in (run, folder)]
  jax.tree.map(np.testing.assert_array_equal, *results)
  assert saved_steps(run) == saved_steps(folder)


@pytest.mark.slow
def test_log_continues_after_the_stop(run, folder):
  def validated(workdir):
    lines = (storage.path(workdir) / "metrics.jsonl").read_text().splitlines()
    rows = map(json.loads, lines)
    return [row for row in rows if row["split"] == "validation"]

  assert validated(run) == validated(folder)
  assert [row["step"] for row in validated(run)] == [2, 4, 5]


@pytest.mark.slow
def test_sheets_equal_those_in_a_folder(run, folder, bucket):
  sheets = {path.name: path.read_bytes() for path in folder.glob("sheets/*")}
  assert set(_names(bucket, "some/run/sheets/")) == set(sheets)
  for name, content in sheets.items():
    assert bucket.objects[f"some/run/sheets/{name}"].content == content


@pytest.mark.slow
def test_each_event_file_is_uploaded_once(run, bucket):
  # One file each up to steps 2 and 3, and, after the resume, 4 and 5.
  events = _names(bucket, "some/run/tensorboard/")
  assert len(events) == 4
  uploads = [q["name"] for _, _, q in bucket.requests if "upload_id" in q]
  for name in events:
    assert uploads.count(f"some/run/tensorboard/{name}") == 1


@pytest.mark.slow
def test_no_object_is_renamed_or_appended_to(run, bucket):
  """A bucket renames by copying, and appends by composing objects."""
  paths = [path for _, path, _ in bucket.requests if "some/run" in path]
  assert paths
  assert not [p for p in paths if "rewrite" in p or "compose" in p]


@pytest.mark.slow
def test_status_of_a_finished_run(run):
  lines = status(run).splitlines()
  assert lines[0].startswith("run   not running; last was process ")
  assert lines[1].startswith("step  5, ")
  assert lines[2].startswith("saved step 5 of 5; 0:0")


@pytest.mark.slow
def test_evaluation_equals_that_in_a_folder(run, folder, bucket, monkeypatch):
  monkeypatch.setattr(classifier, "STEPS", 2)
  evaluations = []
  for workdir in (run, folder):
    evaluate(workdir, sampling=Sampling(num_samples=1))
    text = (storage.path(workdir) / "evaluation.json").read_text()
    evaluations.append(json.loads(text.replace(str(workdir), "WORKDIR")))
  assert evaluations[0] == evaluations[1]
  compare([run], outputs="gs://bucket/compared")
  written = [f"/comparison.{suffix}" for suffix in ("html", "md", "tex")]
  assert _names(bucket, "compared") == written


@pytest.mark.slow
def test_finished_run_is_left_alone(run, bucket, capsys):
  before = _names(bucket, "")
  train(_config(), run)
  assert "is finished: 5 steps" in capsys.readouterr().out
  assert _names(bucket, "") == before


def test_objects_of_other_processes_are_listed(bucket):
  """The client must not answer from a cached list of objects."""
  place = storage.path("gs://bucket/seen")
  storage.write_whole(place / "a", b"1")
  assert [path.name for path in place.iterdir()] == ["a"]
  code = (
    "from cinn_jax.runtime import storage;"
    " storage.write_whole('gs://bucket/seen/b', b'2')"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
  assert sorted(path.name for path in place.iterdir()) == ["a", "b"]


def test_pictures_and_arrays_are_written(bucket, monkeypatch):
  place = storage.path("gs://bucket/files")
  picture = np.zeros((2, 3, 3), np.uint8)
  writing.save_photo(place / "a.tif", picture)
  assert (place / "a.tif").read_bytes()[:2] in (b"II", b"MM")
  given = []
  monkeypatch.setattr(diagnosis, "diagnose", lambda *a, **_: given.extend(a))
  diagnosis.dump(
    place / "step.npz",
    config=_config().to_dict(),
    variables={"params": {"w": np.arange(3)}},
    batch={"label": np.array([0, 1])},
    step=1,
  )
  diagnosis.reproduce(str(place / "step.npz"))
  assert given[2]["params"]["w"].tolist() == [0, 1, 2]
  assert given[3]["label"].tolist() == [0, 1]


def test_trace_is_uploaded_once_complete(bucket, monkeypatch):
  def start(folder, **_):
    (pathlib.Path(folder) / "plugins").mkdir()
    (pathlib.Path(folder) / "plugins" / "trace").write_bytes(b"1")

  monkeypatch.setattr(jax.profiler, "start_trace", start)
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
  folder = storage.path("gs://bucket/traced")
  with profiling.Profiler(folder) as profiler:
    profiler.before(profiling.FIRST, None)
    assert not _names(bucket, "traced")
  assert bucket.objects["traced/plugins/trace"].content == b"1"


class TestLease:
  @pytest.fixture(autouse=True)
  def _soon(self, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(lease, "SILENT_SECONDS", 2.0)

  @pytest.fixture
  def workdir(self, bucket):
    return storage.path("gs://bucket/held")

  def test_lease_of_a_live_run_raises(self, workdir, capsys):
    with lease.hold_lease(workdir):
      assert lease.is_alive(workdir)
      with pytest.raises(OSError, match="in use by another run"):
        train(_config(), workdir)
    assert not lease.is_alive(workdir)
    assert "waiting" in capsys.readouterr().out
    with lease.hold_lease(workdir):
      assert "waiting" not in capsys.readouterr().out

  def test_a_lease_that_cannot_be_released_does_not_hide_the_outcome(
    self, workdir, monkeypatch
  ):
    with (
      pytest.raises(Stopped, match="saved"),
      lease.hold_lease(workdir),
    ):
      monkeypatch.setattr(lease, "_write", mock.Mock(side_effect=OSError))
      raise Stopped("saved")

  def test_lease_of_a_killed_run_is_taken_over(self, workdir, capsys):
    holder = {"process": 1, "host": "there", "signs": 7}
    storage.write_whole(workdir / "lock", json.dumps(holder).encode())
    begin = time.monotonic()
    with lease.hold_lease(workdir):
      assert time.monotonic() - begin > lease.SILENT_SECONDS
    assert "held by process 1 on there: waiting" in capsys.readouterr().out

  def test_failed_sign_of_life_is_ignored(self, workdir, bucket, monkeypatch):
    with lease.hold_lease(workdir):
      with monkeypatch.context() as patch:
        patch.setattr(storage, "write_whole", _fail)
        time.sleep(0.5)
      before = bucket.objects["held/lock"]
      deadline = time.monotonic() + 20
      while bucket.objects["held/lock"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _fail(*_):
  raise OSError("no network")


class TestMistakes:
  @pytest.mark.parametrize("place", ["s3://bucket/run", "gs://", "gs:///run"])
  def test_unknown_scheme_or_empty_bucket_raises(self, place):
    with pytest.raises(ValueError, match=r"expected a folder, or gs://BUCKET"):
      storage.path(place)

  def test_missing_bucket_raises(self, bucket):
    with pytest.raises(OSError, match="There is no bucket gs://other"):
      storage.path("gs://other/run")

  def test_missing_extra_raises(self, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ValueError, match=r"gs://third needs .*\[gcs\]"):
      storage.path("gs://third/run")
