"""Quality of samples: one file per task, and the metrics that they share."""
