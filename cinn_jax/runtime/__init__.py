"""Processes, storage, sharding, threads, caches and FLOPs."""
