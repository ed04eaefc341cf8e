"""The machine: processes, storage, sharding, threads, caches, FLOPs."""
