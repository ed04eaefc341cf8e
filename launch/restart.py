"""Starts a command again whenever it ends with 75 (saved, start me again).

  python launch/restart.py COMMAND [ARG ...]

Ends with the command's own code, 128 + N where signal N killed it. SIGTERM,
SIGUSR1 and SIGUSR2 are passed on, and after one of them, or after Ctrl-C, the
command is not started again. It is Python and no shell, because a shell that is
about to wait misses a signal now and then, until what it waits for has ended.
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
  """The exit code of `command` after its last start."""
  # Blocked, signals wait to be asked for: none can come at a wrong moment.
  before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING | {signal.SIGCHLD})
  signal.signal(signal.SIGCHLD, lambda *_: None)
  while True:
    try:
      # SIGCHLD's handler is not inherited: a new program has none.
      child = os.posix_spawnp(
        command[0], command, os.environ, setsigmask=before
      )
    except OSError as error:
      say(f"{command[0]}: {error.strerror}")
      return 127 if isinstance(error, FileNotFoundError) else 126
    code, stopped = attend(child)
    if code != SAVED or stopped:
      return code
    say("saved (75), starting again ...")
    time.sleep(PAUSE)
    if signal.sigpending() & STOPPING:
      return code


def attend(child):
  """The child's exit code, and whether a signal asked to stop meanwhile."""
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
