"""Rows and metrics of a small table of results."""

from cinn_jax.evaluation.tables import table

METRICS = {
  "single_rmse": table.Metric("RMSE of 1", "%", "RMSE of the first sample"),
  "variance": table.Metric(
    "variance", "1e-4", "variance over the n samples (divisor n)"
  ),
  "error_max": table.Metric("error, max", "L", "largest error", "max"),
}
ROWS = {
  "cINN": table.Row(
    {"single_rmse": (9.51999, 0.061234), "variance": (35.2, None)},
    images=5120,
    samples=8,
  ),
  "a|b": table.Row({"single_rmse": (12.0, None)}, "quoted"),
}
