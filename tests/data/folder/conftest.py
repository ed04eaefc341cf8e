"""Fixtures for tests of prepared folders."""

import pytest

from cinn_jax.data.folder import listing, preparation


@pytest.fixture
def settled(monkeypatch):
  """Stores the digests of files even if they were only just written."""
  monkeypatch.setattr(listing, "SETTLED_NS", 0)


@pytest.fixture
def small_shards(monkeypatch):
  """Puts only four files in a shard."""
  monkeypatch.setattr(preparation, "SHARD_FILES", 4)
