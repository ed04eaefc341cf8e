"""Killed at random moments and started again, a run ends with the same bits."""

from tests.benchmarks import kill_and_resume


def test_kills_lose_nothing(tmp_path):
  done = kill_and_resume.compare(tmp_path, kills=2, seed=1)
  assert done["kills"] == 2
  _, rows = kill_and_resume.outcome_of(tmp_path / "uninterrupted")
  assert len(rows) == kill_and_resume.STEPS // kill_and_resume.EVAL_EVERY
