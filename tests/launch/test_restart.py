"""launch/local.sh: its options, exit codes and signals."""

import os
import signal
import time

import pytest

from tests.support.fakes import ARGUMENTS, Project, parse

# Ends with the codes of the file $CODES, one a start, and says how it started.
COUNTED = """
echo "started $*"
code="$(head -n 1 "$CODES")"
sed -i 1d "$CODES"
exit "$code"
"""

# Says that it is ready; ends with 75 when signalled.
SIGNALLED = """
trap 'echo "got TERM"; exit 75' TERM
trap 'echo "got USR1"; exit 75' USR1
echo ready
for _ in $(seq 200); do sleep 0.05; done
"""


@pytest.fixture
def local(tmp_path):
  project = Project(tmp_path, "local.sh")
  project.fake("counted", COUNTED)
  project.fake("signalled", SIGNALLED)
  return project


def with_codes(project, *codes):
  file = project.root / "codes"
  file.write_text("".join(f"{code}\n" for code in codes))
  project.env["CODES"] = str(file)
  return file


class TestRestart:
  @pytest.mark.parametrize(
    ("codes", "end", "starts"),
    [((0, 9), 0, 1), ((75, 75, 0, 9), 0, 3), ((75, 1, 0), 1, 2)],
  )
  def test_75_starts_again_and_all_else_ends(self, local, codes, end, starts):
    with_codes(local, *codes)
    code, out, err = local.run("--restart", "counted", "a b")
    assert code == end
    assert out == "started a b\n" * starts
    assert err.count("starting again") == starts - 1

  def test_without_it_75_is_passed_on(self, local):
    with_codes(local, 75, 0)
    assert local.run("counted")[:2] == (75, "started \n")

  def test_arguments_survive(self, local):
    _, out, _ = local.run("--restart", "python", *ARGUMENTS)
    assert out == "".join(f"<{argument}>" for argument in ARGUMENTS)

  def test_the_commands_input_is_its_own(self, local):
    code, out, _ = local.run(
      "-c",
      f'echo hello | "{local.script}" --restart cat',
      script="/bin/bash",
    )
    assert (code, out) == (0, "hello\n")

  def test_an_unknown_command(self, local):
    assert local.run("--restart", "no-such-command")[0] == 127


class TestSignals:
  @pytest.mark.parametrize("name", ["TERM", "USR1"])
  def test_one_is_passed_on_and_ends_it(self, local, name):
    call = local.start("--restart", "signalled")
    assert wait_for_line(call, "ready")
    os.kill(call.pid, getattr(signal, f"SIG{name}"))
    out, err = call.communicate(timeout=20)
    assert out == f"got {name}\n"
    assert call.returncode == 75 and "starting again" not in err

  def test_the_commands_code_counts_however_late(self, local):
    local.fake("slow", 'trap "" TERM\necho ready\nsleep 0.4\nexit 3')
    call = local.start("--restart", "slow")
    assert wait_for_line(call, "ready")
    os.kill(call.pid, signal.SIGTERM)
    call.communicate(timeout=20)
    assert call.returncode == 3

  def test_the_command_can_be_interrupted(self, local):
    call = local.start("--restart", "bash", "-c", "echo ready; exec sleep 20")
    assert wait_for_line(call, "ready")
    time.sleep(0.1)
    # As a terminal does it: to the whole group.
    os.killpg(call.pid, signal.SIGINT)
    call.communicate(timeout=10)
    assert call.returncode == 130

  def test_without_restart_the_command_takes_its_place(self, local):
    call = local.start("bash", "-c", "echo $$")
    out, _ = call.communicate(timeout=20)
    assert int(out) == call.pid


class TestOptions:
  def test_dry_run_says_what_is_run(self, local):
    _, dry, _ = local.run("--dry-run", "counted", *ARGUMENTS)
    with_codes(local, 0)
    assert not local.made() and not local.calls()
    local.run("counted", *ARGUMENTS)
    venv, pip, command = parse(dry)
    assert venv[1:] == ["-m", "venv", str(local.venv)]
    assert pip[-1] == f"{local.root}[test]"
    assert local.made() == ["venv", f"pip {pip[-1]}"]
    assert local.calls() == [command]
    # What is made already is not made again.
    assert parse(local.run("--dry-run", "counted", "x")[1]) == [
      ["counted", "x"]
    ]

  def test_help(self, local):
    code, out, err = local.run("--help")
    assert code == 0 and not err
    assert "--restart" in out and "CINN_JAX_PLATFORM" in out

  def test_an_unknown_one_is_refused(self, local):
    assert "unknown option --restrat" in local.refusal("--restrat", "true")

  def test_those_of_the_command_are_its_own(self, local):
    assert (
      local.run("python", "--restart", "--help")[1] == "<--restart><--help>"
    )


def wait_for_line(call, line):
  return call.stdout.readline() == f"{line}\n"
