"""Tables of results: cells, legends and rows that cannot be printed."""

import subprocess
import sys

import numpy as np
import pytest

from cinn_jax.evaluation.tables import records, table
from tests.support.tables import METRICS, ROWS


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
    "- variance: variance over the n samples (divisor n); over images: mean.",
  ]


@pytest.mark.parametrize(
  ("value", "error", "text"),
  [
    (0.0, None, "0.000"),
    (123.456, 1.26, "123.5 ± 1.3"),
    (1234.5, 12.6, "1234 ± 13"),
    (-0.000123456, None, "-0.0001235"),
  ],
)
def test_significant_digits(value, error, text):
  row = table.Row({"variance": (value, error)})
  line = table.table({"x": row}, METRICS).splitlines()[2]
  assert line.split("|")[-2].strip() == text


def test_interval_replaces_the_error():
  row = table.Row(
    {"variance": (35.2, None)}, intervals={"variance": (34, 36.5)}
  )
  text = table.table({"x": row}, METRICS)
  assert "| 35.20 [34.00, 36.50] |" in text
  assert "- In brackets: 95 % intervals" in text
  for name, bad in (("variance", (0, np.nan)), ("single_rmse", (0, 1))):
    with pytest.raises(ValueError, match=f"The interval of {name} in row 'x'"):
      table.table({"x": row._replace(intervals={name: bad})}, METRICS)


def test_every_metric_needs_a_description():
  row = table.Row({"bits": (1.5, None)})
  metrics = METRICS | {"bits": table.Metric("bits", "bits/dim", "ab")}
  assert "bits [bits/dim]" in table.table({"x": row}, metrics)
  with pytest.raises(ValueError, match="row 'x' has 'bits', which no Metric"):
    table.table({"x": row}, METRICS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_numbers_that_are_not_finite_raise(tmp_path, bad, place):
  numbers = [1.0, 1.0]
  numbers[place] = bad
  rows = {"x": table.Row({"variance": tuple(numbers)})}
  with pytest.raises(ValueError, match="variance of row 'x' is"):
    table.table(rows, METRICS)
  with pytest.raises(ValueError, match="variance of row 'x' is"):
    records.write_json(tmp_path / "a.json", rows, METRICS)
  assert not list(tmp_path.iterdir())


def test_unknown_mark_raises():
  rows = {"x": table.Row({}, mark="theirs")}
  with pytest.raises(ValueError, match="'theirs'; expected ours, quoted, ref"):
    table.table(rows, METRICS)


def test_does_not_import_tensorflow():
  code = (
    "import sys, cinn_jax.evaluation.tables.table;"
    " print('tensorflow' in sys.modules)"
  )
  out = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == "False"
