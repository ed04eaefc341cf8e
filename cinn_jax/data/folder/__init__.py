"""A source for any folder of pictures, which is prepared once, as shards."""
