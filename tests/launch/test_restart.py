"""launch/local.sh --restart."""

import os
import signal
import sys

import pytest

from tests.support.launcher import ARGUMENTS

# Exits with the codes of $CODES, one per start.
TRAIN = """
code="$(head -n 1 "$CODES")"
sed -i 1d "$CODES"
exit "$code"
"""

# Exits with $CODE a while after a signal. A shell sometimes misses one that
# comes while it starts a program.
SIGNALLED = f"""
exec {sys.executable} -I -S -c '
import os, signal, sys, time

names = "SIGINT SIGTERM SIGUSR1 SIGUSR2".split()
signals = [getattr(signal, name) for name in names]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
print("ready", flush=True)
got = signal.sigtimedwait(signals, 30).si_signo
print("got", signal.Signals(got).name.removeprefix("SIG"), flush=True)
time.sleep(0.3)
sys.exit(int(os.environ["CODE"]))
'
"""


@pytest.mark.parametrize("codes", [[0], [75, 75, 0], [75, 1], [137]])
def test_restarts_on_75_only(project, codes):
  file = project.root / "codes"
  file.write_text("".join(f"{code}\n" for code in codes) + "9\n")
  project.fake("train", TRAIN)
  code, _, err = project.run("--restart", "train", *ARGUMENTS, CODES=str(file))
  assert code == codes[-1] and err.count("starting again") == len(codes) - 1
  assert project.calls() == [["train", *ARGUMENTS]] * len(codes)


@pytest.mark.parametrize("name", ["INT", "TERM", "USR1", "USR2"])
def test_a_signal_is_passed_on_and_ends_it(project, name):
  project.fake("train", SIGNALLED)
  for code in (75, 3):
    call = project.start("--restart", "train", CODE=str(code))
    assert call.stdout.readline() == "ready\n"
    # A terminal sends SIGINT to the whole group.
    send = os.killpg if name == "INT" else os.kill
    send(call.pid, getattr(signal, f"SIG{name}"))
    assert project.finish(call)[:2] == (code, f"got {name}\n")


@pytest.mark.parametrize(
  ("command", "code"),
  [
    ("{} no-such-command", 127),
    ("{} --restart no-such-command", 127),
    ("{} --restart bash -c 'kill -KILL $$'", 137),
    # Standard input belongs to COMMAND.
    ("echo hello | {} --restart grep hello", 0),
  ],
)
def test_exit_codes(project, command, code):
  call = command.replace("{}", f'"{project.script}"')
  assert project.run("-c", call, script="/bin/bash")[0] == code


def test_without_it_the_command_replaces_the_script(project):
  call = project.start("bash", "-c", "echo $$")
  assert int(project.finish(call)[1]) == call.pid
