"""Checks the turns of benchmarks with a peer, and the peer's process."""

import pathlib
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parent

PEER = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from side_by_side import serve
def answer(photos):
  print("not an answer")
  return {{"seconds": 2 * photos}}
serve({{"parameters": 7}}, answer)
"""


@pytest.fixture
def side_by_side(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))
  import side_by_side

  return side_by_side


def test_peer_sends_facts_and_answers(side_by_side, tmp_path):
  script = tmp_path / "peer.py"
  script.write_text(PEER)
  with side_by_side.Peer(sys.executable, script) as peer:
    assert peer.facts == {"parameters": 7}
    answers = [peer(photos=n)["seconds"] for n in (1, 4)]
    assert answers == [2, 8]
    with pytest.raises(RuntimeError, match="exit code 1"):
      peer(pictures=1)


def test_sides_take_turns_after_a_warm_up(side_by_side):
  calls = []

  def side(name):
    return lambda: calls.append(name) or len(calls)

  sides = {"ours": side("ours"), "peer": side("peer")}
  results = side_by_side.alternate(sides, rounds=2)
  assert calls == ["ours", "peer", "peer", "ours", "ours", "peer"]
  assert results == {"ours": [4, 5], "peer": [3, 6]}


def test_ratio_is_the_peers_time_over_ours(side_by_side):
  ratio = side_by_side.ratio([1.0, 1.0, 2.0], [4.0, 5.0, 6.0])
  assert ratio == {"median": 4.0, "low": 3.5, "high": 4.5}


def test_interpreter_without_freia_is_refused(side_by_side):
  with pytest.raises(ValueError, match="but /no/such/python does not have"):
    side_by_side.freia_python("/no/such/python")
