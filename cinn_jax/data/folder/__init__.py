"""A folder of pictures as a source: listed, prepared once, kept in shards."""
