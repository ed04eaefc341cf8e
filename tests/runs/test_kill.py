"""Runs that are killed at random moments and resumed end with the same bits."""

from tests.benchmarks import kill_and_resume


def test_killed_run_ends_with_the_same_bits(tmp_path):
  done = kill_and_resume.compare(tmp_path, kills=2, seed=1)
  assert done["kills"] == 2
  _, rows = kill_and_resume.outcome_of(tmp_path / "uninterrupted")
  assert len(rows) == kill_and_resume.STEPS // kill_and_resume.EVAL_EVERY
