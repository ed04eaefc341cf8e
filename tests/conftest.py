"""Settings for every test, made before JAX is used."""

import importlib.util
import os
import threading

import jax
import pytest

from tests.support import compilation, fake_bucket

# Broadcasting between ranks hides mistakes; the package spells it out.
jax.config.update("jax_numpy_rank_promotion", "raise")

# What tests mostly do is compile: tiny networks cost more to optimize than to
# run.
compilation.configure(jax_disable_most_optimizations=True)

# Exact checks need float64, which is one flag for a whole process:
# tests/test_exact.py runs them in a process of their own.
collect_ignore = [] if os.environ.get("JAX_ENABLE_X64") else ["exact"]

# What takes minutes starts first, so that no core is left with it alone.
_LONG = (
  "tests/test_exact.py",
  "tests/training/",
  "tests/runs/test_notebooks.py",
)


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


@pytest.fixture(scope="session", autouse=True)
def _away_from_home(tmp_path_factory):
  """Nothing depends on what earlier work left in ~/.cache."""
  os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session", autouse=True)
def _compile_once(tmp_path_factory):
  """The same tiny networks are compiled by many tests and their processes."""
  folder = tmp_path_factory.getbasetemp()
  if "PYTEST_XDIST_WORKER" in os.environ:
    folder = folder.parent  # What all workers have.
  folder /= "compiled"
  compilation.configure(
    jax_compilation_cache_dir=str(folder),
    jax_persistent_cache_min_compile_time_secs=0.2,
    jax_persistent_cache_min_entry_size_bytes=-1,
  )


@pytest.fixture(scope="session")
def bucket():
  """The server of gs://bucket, for this process and what it starts."""
  # Not imported: it has to find the settings.
  if importlib.util.find_spec("gcsfs") is None:
    pytest.skip("needs the extra gcs")
  with fake_bucket.Server() as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Read once in a process, so they stay.
    os.environ.update(server.settings)
    yield server
    server.shutdown()
