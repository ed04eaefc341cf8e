"""Settings for every test, applied before JAX is used."""

import gc
import importlib.util
import os
import threading

import pytest
from absl import flags

from tests.support import compilation, fake_bucket

# Broadcasting between ranks hides mistakes; the package spells it out.
compilation.set_option("jax_numpy_rank_promotion", "raise")

# Tests mostly compile: tiny networks take longer to optimize than to run.
compilation.configure(jax_disable_most_optimizations=True)

# Traces make millions of objects that stay: by default, a fifteenth of the time
# is spent looking for garbage among them.
gc.set_threshold(50_000, 20, 20)

# Exact checks need float64, an option of the whole process. So
# tests/test_exact.py runs them in a process of their own.
collect_ignore = [] if os.environ.get("JAX_ENABLE_X64") else ["exact"]

# Tests that take minutes start first, so that no core ends with one of them
# while the others are idle.
_LONG = (
  "tests/test_exact.py",
  "tests/training/",
  "tests/runs/",
  "tests/workdir/",
)


def pytest_xdist_auto_num_workers():
  """Starts one more worker than there are cores: tests of signals wait."""
  return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


@pytest.fixture(scope="session", autouse=True)
def _empty_home(tmp_path_factory):
  """Sets an empty home folder, so that nothing depends on ~/.cache."""
  os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session", autouse=True)
def _shared_compilation_cache(tmp_path_factory):
  """Lets all tests and their processes share compiled programs."""
  folder = tmp_path_factory.getbasetemp()
  if "PYTEST_XDIST_WORKER" in os.environ:
    folder = folder.parent  # Common to all workers.
  folder /= "compiled"
  compilation.configure(
    jax_compilation_cache_dir=str(folder),
    jax_persistent_cache_min_compile_time_secs=0.2,
    jax_persistent_cache_min_entry_size_bytes=-1,
  )


@pytest.fixture
def parsed():
  """Lets flags be read, as after the start of a command."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
    yield
    flags.FLAGS.unparse_flags()
  else:
    yield


@pytest.fixture(scope="session")
def bucket():
  """The server of gs://bucket, for this process and those that it starts."""
  # gcsfs must not be imported here: it reads the settings below.
  if importlib.util.find_spec("gcsfs") is None:
    pytest.skip("needs the extra gcs")
  with fake_bucket.Server() as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # They are read once per process, so they stay set.
    os.environ.update(server.settings)
    yield server
    server.shutdown()
