"""Checks scores and tables of `claims.py` and `ablations.py`."""

import importlib
import math
import pathlib
import sys

import jax
import numpy as np
import pytest

from tests.support import comparators

HERE = pathlib.Path(__file__).parent


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
  monkeypatch.syspath_prepend(str(HERE))


def _module(name):
  return importlib.import_module(name)


def test_energy_score_is_least_for_the_true_spread():
  scores = _module("claim_scores")
  random = np.random.default_rng(0)

  def draw(*shape, std):
    return np.clip(128 + std * random.normal(size=shape), 0, 255)

  truth = draw(400, 4, std=20.0)
  by_std = {
    std: scores.energy_score(truth, draw(400, 8, 4, std=std))
    for std in (0.0, 20.0, 40.0)
  }
  assert by_std[20.0] < min(by_std[0.0], by_std[40.0]) - 0.3
  # Without any spread, the score is the error.
  errors = np.sqrt(np.mean((truth - 128) ** 2, axis=-1))
  assert by_std[0.0] == pytest.approx(errors.mean(), rel=1e-4)


def test_distinct_share_counts_equal_samples_once():
  scores = _module("claim_scores")
  samples = np.zeros((2, 4, 3, 3, 3), np.uint8)
  samples[1] += 10 * np.arange(4, dtype=np.uint8)[:, None, None, None]
  # One in four, and four in four.
  assert scores.distinct_share(samples) == 62.5
  samples[1, 3] = samples[1, 0]
  assert scores.distinct_share(samples) == 50.0


def test_failed_runs_are_named():
  failure = _module("claim_scores").failure
  better = {"rmse_of_one": 9.0, "rmse_without_model": 10.0, "pixel_std": 0.0}
  worse = {**better, "rmse_of_one": 10.0}
  assert failure("regression", better) is None
  assert "does not beat" in failure("regression", worse)
  assert "do not depend on the noise" in failure("gan", better)
  assert failure("gan", {**better, "pixel_std": 3.0}) is None
  assert failure("flow", worse) is None


def test_numbers_of_a_diverged_run_can_be_written(tmp_path):
  claims, rows = _module("claims"), _module("result_rows")
  last = claims.as_json({"loss": math.nan, "bits": math.inf, "r1": 0.5})
  assert last == {"loss": None, "bits": None, "r1": 0.5}
  row = {**_row("cgan", 0, failed="diverged", measures={}), "last": last}
  rows.append(tmp_path / "rows.json", row, claims.key)
  assert "1 failed: diverged" in _module("claim_table").markdown([row])


def _row(method, seed, **values):
  return {
    "task": "colorize",
    "minutes": 2.0,
    "trial": 0.25,
    "method": method,
    "seed": seed,
    "parameters": 3_000_000,
    "test_pictures": 5,
    "failed": None,
    "bits_per_dim": None,
    "measures": {"rmse_of_one": 7.0, "rmse_without_model": 11.0},
    **values,
  }


def test_the_table_has_dashes_and_reasons():
  rows = [
    _row("cinn", 0, bits_per_dim=3.0),
    _row("cinn", 1, bits_per_dim=3.5),
    _row("cgan", 0, failed="answers do not depend on the noise"),
    _row("cvae", 0, measures_of_means={"rmse_of_one": 6.5}),
  ]
  text = _module("claim_table").markdown(rows)
  lines = {
    cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
    for cells in (line.split("|") for line in text.splitlines())
    if len(cells) > 3
  }
  assert lines["cinn"][:4] == [
    "2",
    "3,000,000",
    "3.250 (3.000 to 3.500)",
    "7.0 (7.0 to 7.0)",
  ]
  assert lines["cgan"][:3] == [
    "1 (1 failed: answers do not depend on the noise)",
    "3,000,000",
    "-",
  ]
  assert lines["cvae, without pixel noise"][3] == "6.5"
  assert lines["no model"][3] == "11.0"
  assert (
    "**colorize**: 2 minutes of processor time per run, 0.5 for each rate, 5"
    " test pictures" in text
  )


def test_runs_of_other_budgets_are_apart():
  claims = _module("claims")
  rows = [
    _row("cinn", 0),
    _row("cinn", 0, trial=0.1),
    _row("cinn", 0, limit=20),
  ]
  assert len(set(map(claims.key, rows))) == 3
  text = _module("claim_table").markdown(rows)
  assert text.count("**colorize**") == 3
  # Earlier rows have no limit.
  assert claims.key(_row("cinn", 0, limit=0)) == claims.key(rows[0])


def test_answers_without_a_model_are_told_apart():
  luma = {"rmse_of_one": 7.0, "rmse_without_model": 12.5}
  text = _module("claim_table").markdown(
    [_row("caflow", 0, measures=luma), _row("cgan", 0), _row("cinn", 0)]
  )
  assert "| no model (caflow) " in text and "12.5" in text
  assert "| no model (cgan, cinn) " in text and "11.0" in text


@pytest.mark.parametrize(
  "flags, message",
  [
    (["--task=colourize"], "--task=colourize: expected some of colorize"),
    (["--task=digits"], "--task=digits needs --digits"),
    (
      ["--task=digits", "--digits=a", "--method=cgan_with_L1"],
      "--method=cgan_with_L1: expected some of cinn",
    ),
    (["--task=digits", "--digits=a", "--trial=0"], "must be above 0"),
    (["--task=colorize", "--photos=a.zip"], "No weights here."),
  ],
)
def test_wrong_flags_are_refused(flags, message, monkeypatch, capsys):
  claims = _module("claims")
  monkeypatch.setattr(
    claims.claim_scores, "missing", lambda: "No weights here."
  )
  monkeypatch.setattr(sys, "argv", ["claims.py", *flags])
  with pytest.raises(SystemExit) as caught:
    claims.main()
  assert caught.value.code == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["claims", "ablations"])
def test_committed_rows_make_tables(name, monkeypatch, capsys):
  monkeypatch.setattr(sys, "argv", [f"{name}.py", "--table"])
  _module(name).main()
  table = capsys.readouterr().out
  rows = _module("result_rows").read(HERE / "results" / f"{name}.json")
  column = {"claims": "method", "ablations": "variant"}[name]
  if not rows:
    assert table == "There are no rows yet.\n"
  for row in rows:
    assert f"| {row[column]} " in table


def test_a_variant_without_a_network_has_none():
  ablations, scores = _module("ablations"), _module("claims")
  records = {"image": np.zeros((32, 64, 64, 3), np.uint8)}
  counts = {
    name: scores.count_parameters(ablations.make_trainer(name, records))
    for name in ("base", "no_condition_net")
  }
  assert counts["base"] == 2_671_592
  assert counts["no_condition_net"] < counts["base"] - 800_000
  net = ablations.Resized()
  maps = jax.eval_shape(net.apply, {}, np.zeros((2, 64, 64, 1), np.float32))
  assert {k: v.shape for k, v in maps.items()} == {
    "level_0": (2, 32, 32, 1),
    "level_1": (2, 16, 16, 1),
    "level_2": (2, 8, 8, 1),
    "vector": (2, 64),
  }


@pytest.mark.slow
def test_methods_have_about_the_same_number_of_parameters():
  from cinn_jax.experiment.build import abstract_variables, build

  models = _module("claim_models")

  def count(config):
    params = abstract_variables(*build(config))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params)), params

  for task, methods in models.METHODS.items():
    for method in methods:
      total, params = count(models.make_config(task, method))
      # Digits take less.
      assert (4e5 if task == "digits" else 2.5e6) < total < 3.4e6
      if (start := models.make_start(task, method)) is not None:
        _, first = count(start)
        shapes = jax.tree.map(lambda leaf: leaf.shape, first)
        assert shapes == {
          "condition_net": jax.tree.map(
            lambda leaf: leaf.shape, params["condition_net"]
          )
        }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cvae", "cgan"])
def test_a_run_appends_its_row_once(method, tmp_path, monkeypatch, capsys):
  claims, models = _module("claims"), _module("claim_models")
  monkeypatch.setattr(claims.claim_digits.classifier, "STEPS", 3)
  claims._judge.cache_clear()
  claims._split.cache_clear()
  small = comparators.digits(method)
  chosen = models.METHODS["digits"][method]._replace(
    rates=(1e-3, 1e-2), batch_size=16
  )
  monkeypatch.setitem(models.METHODS["digits"], method, chosen)
  monkeypatch.setattr(models, "make_config", lambda *_: small)
  results = tmp_path / "rows.json"
  command = [
    *("claims.py", "--task=digits", f"--method={method}", "--digits=anywhere"),
    *("--seed=3", "--minutes=0.005", "--limit=12"),
    *(f"--out={tmp_path}", f"--results={results}"),
  ]
  monkeypatch.setattr(sys, "argv", command)
  claims.main()
  [row] = _module("result_rows").read(results)
  assert (row["method"], row["seed"], row["minutes"]) == (method, 3, 0.005)
  # Its seconds are rounded to tenths.
  assert row["seconds"] >= 0.3 and row["steps"] >= 5
  assert set(row["rates"]) == {"0.001", "0.01"} and row["rate"] in (1e-3, 1e-2)
  assert (row["bits_per_dim"] is None) == (method == "cgan")
  assert ("measures_of_means" in row) == (method == "cvae")
  assert 0 <= row["measures"]["recall"] <= 100
  assert (tmp_path / f"digits-{method}-3.png").exists()
  capsys.readouterr()
  claims.main()
  assert "done before" in capsys.readouterr().out
  # Another seed takes the rates as they were found.
  monkeypatch.setattr(claims, "_try_rates", None)
  monkeypatch.setattr(
    sys, "argv", ["--seed=4" if c == "--seed=3" else c for c in command]
  )
  claims.main()
  _, other = _module("result_rows").read(results)
  assert (other["seed"], other["rates"]) == (4, row["rates"])
