"""Checks `pair_comparison.py`, and what `broken_pixels.py` counts."""

import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = pathlib.Path(__file__).parent


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))


def _photos(path, count=11, side=80):
  rng = np.random.default_rng(0)
  with zipfile.ZipFile(path, "w") as archive:
    for k in reversed(range(count)):
      small = rng.integers(0, 256, (5, 4, 3), np.uint8)
      with archive.open(f"rooms/{k:03d}.png", "w") as file:
        Image.fromarray(small).resize((side, side + 20)).save(file, "PNG")
    archive.writestr("rooms/", "")
    archive.writestr("other/000.png", b"no picture")
  return str(path)


def test_every_fifth_picture_by_name_is_for_testing(tmp_path):
  import pair_pictures

  path = _photos(tmp_path / "a.zip")
  train, test, copies = pair_pictures.read(path, "rooms", 64)
  assert (len(train), len(test), copies) == (8, 3, 0)
  small = str(tmp_path / "b.zip")
  pair_pictures.prepare(path, small, ("rooms",), 64)
  again = pair_pictures.read(small, "rooms", 64)
  np.testing.assert_array_equal(again[0].images, train.images)
  np.testing.assert_array_equal(again[1].images, test.images)
  assert len(pair_pictures.read(path, "rooms", 64, limit=2)[1]) == 2
  with pytest.raises(ValueError, match="no pictures in clothes/"):
    pair_pictures.read(path, "clothes", 64)


def test_copies_of_test_pictures_are_left_out(tmp_path):
  import pair_pictures

  path = _photos(tmp_path / "a.zip")
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("rooms/003b.png", archive.read("rooms/000.png"))
  train, _, copies = pair_pictures.read(path, "rooms", 64)
  assert (len(train), copies) == (8, 1)


def test_batches_go_through_whole_epochs():
  import pair_pictures

  order = pair_pictures.batches(7, steps=5, batch_size=3, seed=1)
  assert order.shape == (5, 3)
  assert sorted(order.reshape(-1)[:7]) == list(range(7))
  assert sorted(order.reshape(-1)[7:14]) == list(range(7))
  other = pair_pictures.batches(7, steps=5, batch_size=3, seed=2)
  assert not np.array_equal(order, other)


def test_all_models_clip_and_pair_flows_compress_far_numbers():
  import pair_models

  for task, (_, models) in pair_models.TASKS.items():
    for model in models:
      config = pair_models.make_config(task, model, steps=100, batch_size=8)
      assert config.optimizer.clip_norm == 10
      pair = model in ("caflow", "dual_glow_plus")
      assert config.model.get("far", 0) == 3 * pair


def test_another_size_is_refused():
  import pair_models

  from cinn_jax.experiment.build import build

  config = pair_models.make_config(
    "super_resolution", "cinn", steps=100, batch_size=8
  )
  assert config.optimizer.schedule_options.warmup_steps == 10
  flow, task = build(config)
  count = pair_models.count_parameters(flow, task)
  assert abs(count / 6e6 - 1) < 0.05
  config.model.hidden = (8, 8, 8)
  with pytest.raises(ValueError, match=r"parameters, expected 6,000,000"):
    pair_models.count_parameters(*build(config))


@pytest.mark.slow
def test_several_processes_can_append_rows(tmp_path):
  path = tmp_path / "rows.json"
  code = (
    f"import sys, pathlib; sys.path.insert(0, {str(BENCHMARKS)!r});"
    " import result_rows as r, pair_comparison as c\n"
    "for k in range(20): r.append(pathlib.Path(sys.argv[1]),"
    " {'task': 'a', 'model': sys.argv[2], 'seed': k, 'steps': 1,"
    " 'batch_size': 1}, c._key)"
  )
  command = [sys.executable, "-c", code, str(path)]
  processes = [subprocess.Popen([*command, name]) for name in ("x", "y")]
  assert [process.wait(120) for process in processes] == [0, 0]
  rows = json.loads(path.read_text())
  assert [(row["model"], row["seed"]) for row in rows] == [
    (model, seed) for model in ("x", "y") for seed in range(20)
  ]


def test_rounded_weights_are_noticed():
  import pair_comparison

  rng = np.random.default_rng(0)
  weights = {"a": rng.normal(size=100).astype(np.float32)}
  assert pair_comparison._mantissa(weights) == 23
  halves = {"a": weights["a"].astype(np.float16)}
  assert pair_comparison._mantissa(halves) == 10
  assert pair_comparison._mantissa({"a": np.array([1.0, 0.5])}) == 0


def _row(model, seed, shift=0.0, **facts):
  numbers = {"psnr": [20 + shift, 19 + shift, 21 + shift]}
  rows = {
    f"{name}, temperature {t}": numbers
    for name in ("one sample", "mean of n samples", "likeliest of n")
    for t in ("0.5", "1")
  }
  return {
    "task": "inpaint",
    "model": model,
    "seed": seed,
    "steps": 10,
    "batch_size": 8,
    "num_samples": 4,
    "pictures": 5,
    "temperatures": "0.5,1",
    "real_halves_fid": 7.0,
    "likelihood": {
      "bits_per_dim": -4.0,
      "bits_per_dim_of_unscaled_data": 4.0,
      "bits_per_dim_interval": [-4.5, -3.5],
    },
    "rows": {**rows, "no model": {"psnr": [15.0, 14.0, 16.0]}},
    **facts,
  }


def test_table_has_a_line_per_model_and_temperature():
  import pair_table

  settings = ("steps", "batch_size", "num_samples", "temperatures")
  diverged = {
    k: v
    for k, v in _row("cinn", 0).items()
    if k in ("task", "model", "seed", *settings)
  }
  text = pair_table.markdown(
    [_row("caflow", 0), _row("caflow", 1, 2), diverged]
  )
  lines = [line for line in text.splitlines() if line.startswith("|")]
  assert len(lines) == 2 + 2 + 1 + 1
  cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
  assert cells[:5] == [
    *("caflow", "0.5", "2", "4.000 [3.500, 4.500] (4.000 to 4.000)"),
    "21.00 [20.00, 22.00] (20.00 to 22.00)",
  ]
  assert lines[3].split("|")[4].strip() == ""
  assert "0 (1 diverged)" in lines[4]
  assert "no model" in lines[5] and "15.00 [14.00, 16.00]" in lines[5]
  assert "FID of real halves 7.0" in text
  assert pair_table.markdown([]) == "There are no rows yet."


def test_runs_of_other_settings_are_apart():
  import pair_comparison
  import pair_table

  row = _row("caflow", 0)
  one = {k: v for k, v in row["rows"].items() if not k.endswith("0.5")}
  others = [
    _row("caflow", 0, limit=20),
    _row("caflow", 0, temperatures="1", rows=one),
    _row("caflow", 0, num_samples=2),
  ]
  assert len({pair_comparison._key(each) for each in (row, *others)}) == 4
  # Rows of full runs had no limit at first.
  full = _row("caflow", 0, limit=None)
  assert pair_comparison._key(row) == pair_comparison._key(full)
  others[1]["rows"] = {k.split(",")[0]: v for k, v in one.items()}
  assert pair_table.markdown([row, *others]).count("**inpaint**") == 4


def test_runs_of_other_lengths_are_not_averaged():
  import pair_comparison
  import pair_table

  rows = [_row("caflow", 0), _row("caflow", 0, 2, steps=20)]
  assert len(set(map(pair_comparison._key, rows))) == 2
  text = pair_table.markdown(rows)
  assert "10 steps of 8 pictures" in text
  assert "20 steps of 8 pictures" in text
  for mean in ("20.00 [19.00, 21.00] |", "22.00 [21.00, 23.00] |"):
    assert mean in text


def test_pixels_apart_from_their_neighbours_are_broken():
  import broken_pixels

  pictures = np.full((3, 16, 16, 3), 100, np.uint8)
  pictures[1, 4, 4, 0] = 250
  # An edge is none.
  pictures[2, :, 8:] = 255
  np.testing.assert_array_equal(broken_pixels.broken(pictures), [0, 1 / 256, 0])
