"""Runs that are killed at random moments and resumed end with the same bits."""

from tests.benchmarks import kill_and_resume


def test_killed_run_ends_with_the_same_bits(tmp_path):
  done = kill_and_resume.compare(tmp_path, kills=1, seed=3)
  assert done["kills"] == 1
  _, rows = kill_and_resume.outcome_of(tmp_path / "uninterrupted")
  assert len(rows) == kill_and_resume.STEPS // kill_and_resume.EVAL_EVERY
