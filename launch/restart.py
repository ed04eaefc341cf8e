"""Starts a command again whenever it exits with 75 (saved, start me again).

  python launch/restart.py COMMAND [ARG ...]

Exits with the command's own code, or 128 + N if signal N killed it. Passes
SIGTERM, SIGUSR1 and SIGUSR2 on to the command. After one of these, or after
Ctrl-C, the command is not started again. This is not a shell script because a
shell that is about to wait sometimes misses a signal until the wait is over.
"""

import os
import signal
import sys
import time

SAVED = 75
PASSED_ON = {signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
# A terminal sends SIGINT to the command as well.
STOPPING = PASSED_ON | {signal.SIGINT}
PAUSE = 1.0  # Seconds between two starts.


def main(command):
  """Runs `command` to its last end and returns its exit code."""
  # Blocked signals stay pending until sigwait, so none comes at a bad moment.
  before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING | {signal.SIGCHLD})
  signal.signal(signal.SIGCHLD, lambda *_: None)
  while True:
    try:
      # The new program does not inherit the handler of SIGCHLD.
      child = os.posix_spawnp(
        command[0], command, os.environ, setsigmask=before
      )
    except OSError as error:
      say(f"{command[0]}: {error.strerror}")
      return 127 if isinstance(error, FileNotFoundError) else 126
    code, stopped = wait(child)
    if code != SAVED or stopped:
      return code
    say("saved (75), starting again ...")
    time.sleep(PAUSE)
    if signal.sigpending() & STOPPING:
      return code


def wait(child):
  """Returns the child's exit code and whether a signal asked it to stop."""
  stopped = False
  while True:
    received = signal.sigwait(STOPPING | {signal.SIGCHLD})
    if received != signal.SIGCHLD:
      stopped = True
      if received in PASSED_ON:
        os.kill(child, received)
      continue
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
      code = os.waitstatus_to_exitcode(status)
      return (code if code >= 0 else 128 - code), stopped


def say(message):
  print(f"launch/local.sh: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
