"""Settings for tests of prepared folders."""

import pytest

from cinn_jax.data.folder import listing, preparation


@pytest.fixture
def settled(monkeypatch):
  """Lets digests of files that were just written be remembered."""
  monkeypatch.setattr(listing, "_SETTLED_NS", 0)


@pytest.fixture
def small_shards(monkeypatch):
  monkeypatch.setattr(preparation, "_SHARD_FILES", 4)
