import subprocess
import sys

import numpy as np
import pytest

from cinn_jax.evaluation.by_task.colorize import METRICS
from cinn_jax.evaluation.tables import records, table

ROWS = {
  "cINN": table.Row(
    {"single_rmse": (9.51999, 0.061234), "variance": (35.2, None)},
    images=5120,
    samples=8,
  ),
  "a|b": table.Row({"single_rmse": (12.0, None)}, "quoted"),
}


def test_table():
  lines = table.table(ROWS, METRICS).splitlines()
  assert lines[:5] == [
    "| method | source | images |   n | RMSE of 1 [%] | variance [1e-4] |",
    "| ------ | ------ | -----: | --: | ------------: | --------------: |",
    "| cINN   | ours   |  5,120 |   8 | 9.520 ± 0.061 |           35.20 |",
    "| a\\|b   | quoted |      - |   - |         12.00 |               - |",
    "",
  ]
  assert lines[5:] == [
    "- RMSE of 1: RMSE of the first sample; over images: mean.",
    "- variance: variance over the n samples (divisor n), mean over pixels and"
    " channels; over images: mean.",
  ]


@pytest.mark.parametrize(
  ("value", "error", "shown"),
  [
    (0.0, None, "0.000"),
    (123.456, 1.26, "123.5 ± 1.3"),
    (1234.5, 12.6, "1234 ± 13"),
    (-0.000123456, None, "-0.0001235"),
  ],
)
def test_significant_digits(value, error, shown):
  text = table.table({"x": table.Row({"variance": (value, error)})}, METRICS)
  assert text.splitlines()[2].split("|")[-2].strip() == shown


def test_an_interval_stands_in_place_of_the_error():
  row = table.Row(
    {"variance": (35.2, None)}, intervals={"variance": (34, 36.5)}
  )
  text = table.table({"x": row}, METRICS)
  assert "| 35.20 [34.00, 36.50] |" in text
  assert "- In brackets: 95 % intervals" in text
  for name, bad in (("variance", (0, np.nan)), ("single_rmse", (0, 1))):
    with pytest.raises(ValueError, match=f"The interval of {name} in row 'x'"):
      table.table({"x": row._replace(intervals={name: bad})}, METRICS)


def test_a_metric_of_the_callers_own():
  row = table.Row({"bits": (1.5, None)})
  described = METRICS | {"bits": table.Metric("bits", "bits/dim", "ab")}
  assert "bits [bits/dim]" in table.table({"x": row}, described)
  with pytest.raises(ValueError, match="row 'x' has 'bits', which no Metric"):
    table.table({"x": row}, METRICS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_numbers_that_are_not_finite_are_refused(tmp_path, bad, place):
  numbers = [1.0, 1.0]
  numbers[place] = bad
  rows = {"x": table.Row({"variance": tuple(numbers)})}
  with pytest.raises(ValueError, match="variance of row 'x' is"):
    table.table(rows, METRICS)
  with pytest.raises(ValueError, match="variance of row 'x' is"):
    records.write_json(tmp_path / "a.json", rows, METRICS)
  assert not list(tmp_path.iterdir())


def test_an_unknown_mark_is_refused():
  rows = {"x": table.Row({}, mark="theirs")}
  with pytest.raises(ValueError, match="'theirs'; expected ours, quoted, ref"):
    table.table(rows, METRICS)


def test_tensorflow_is_not_imported():
  code = (
    "import sys, cinn_jax.evaluation.tables.table;"
    " print('tensorflow' in sys.modules)"
  )
  out = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == "False"
