"""Quality of samples, one file per task."""
