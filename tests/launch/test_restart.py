"""launch/local.sh --restart."""

import os
import signal

import pytest

from tests.support.launcher import ARGUMENTS

# Exits with the codes of $CODES, one per start.
TRAIN = """
echo "started"
code="$(head -n 1 "$CODES")"
sed -i 1d "$CODES"
exit "$code"
"""

# Exits with $CODE a while after a signal.
SIGNALLED = """
for name in INT TERM USR1 USR2; do
  trap 'echo "got '"$name"'"; sleep 0.3; exit "$CODE"' "$name"
done
echo ready
for _ in $(seq 200); do sleep 0.05; done
"""


@pytest.mark.parametrize(
  ("codes", "end", "starts"),
  [((0, 9), 0, 1), ((75, 75, 0, 9), 0, 3), ((75, 1, 0), 1, 2)],
)
def test_restarts_on_75_only(project, codes, end, starts):
  file = project.root / "codes"
  file.write_text("".join(f"{code}\n" for code in codes))
  project.fake("train", TRAIN)
  result = project.run("--restart", "train", *ARGUMENTS, CODES=str(file))
  assert result[:2] == (end, "started\n" * starts)
  assert result[2].count("starting again") == starts - 1
  assert project.calls() == [["train", *ARGUMENTS]] * starts


@pytest.mark.parametrize("code", [75, 3])
@pytest.mark.parametrize("name", ["INT", "TERM", "USR1", "USR2"])
def test_a_signal_is_passed_on_and_ends_it(project, name, code):
  project.fake("train", SIGNALLED)
  call = project.start("--restart", "train", CODE=str(code))
  assert call.stdout.readline() == "ready\n"
  # A terminal sends SIGINT to the whole group.
  send = os.killpg if name == "INT" else os.kill
  send(call.pid, getattr(signal, f"SIG{name}"))
  out, err = call.communicate(timeout=20)
  assert (call.returncode, out) == (code, f"got {name}\n")
  assert "starting again" not in err


@pytest.mark.parametrize(
  ("command", "code"),
  [(["no-such-command"], 127), (["bash", "-c", "kill -KILL $$"], 137)],
)
def test_the_exit_code_of_a_death(project, command, code):
  assert project.run("--restart", *command)[0] == code


@pytest.mark.parametrize("option", ["--restart", ""])
def test_the_command_reads_standard_input(project, option):
  call = f'echo hello | "{project.script}" {option} cat'
  result = project.run("-c", call, script="/bin/bash")
  assert result[:2] == (0, "hello\n")


def test_without_it_the_command_replaces_the_script(project):
  call = project.start("bash", "-c", "echo $$")
  assert int(call.communicate(timeout=20)[0]) == call.pid
