"""What sampled pictures are worth: errors, diversity, and their tables."""
