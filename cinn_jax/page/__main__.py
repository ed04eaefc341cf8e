"""Opens a page in the browser: drop a photograph, and see many answers.

  python -m cinn_jax.page
  python -m cinn_jax.page --workdirs=workdirs/inpaint,workdirs/super_resolution

Only this machine can open the page. Without --workdirs, it colorizes with the
weights that come with the package.
"""

import pathlib
import signal
import socket
import sys
import tempfile
import threading

from absl import flags, logging

from cinn_jax import cli
from cinn_jax.evaluation import flags as evaluation
from cinn_jax.runtime import extras
from cinn_jax.runtime import flags as machine

for name in ("debug", "compilation_cache", evaluation.WORKDIRS.name):
  flags.declare_key_flag(name)
_PORT = flags.DEFINE_integer(
  "port",
  None,
  "Port of the page (default: the first free port from 7860 on).",
  lower_bound=1,
  upper_bound=65535,
)
_BROWSER = flags.DEFINE_bool("browser", True, "Open the page in the browser.")


def _run():
  if cli.CONFIG.value is not None:
    raise ValueError(
      "The page shows trained runs: pass --workdirs=DIR,... in place of"
      " --config."
    )
  logging.set_verbosity(logging.WARNING)
  machine.prepare(keep_memory=False)
  try:
    from cinn_jax.page.server import HOST, Server
  except ImportError as error:
    raise ValueError(
      f"The page needs gradio ({error}): {extras.how_to_get('page')}."
    ) from None
  from cinn_jax.page.runs import open_runs

  _check_port(HOST)
  _on_signals(_leave)
  with tempfile.TemporaryDirectory(prefix="cinn_jax_page_") as name:
    folder = pathlib.Path(name)
    runs = open_runs(evaluation.WORKDIRS.value)
    print("Compiling; this takes a minute the first time.")
    for run in runs.values():
      run.warm_up(folder)
    stop = threading.Event()
    server = Server(runs, folder, port=_PORT.value, open_browser=_BROWSER.value)
    _on_signals(lambda *_: stop.set())
    print(f"The page is at {server.url}. Ctrl-C stops it.", flush=True)
    stop.wait()
    server.close()
  sys.exit(0)


def _on_signals(handler):
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, handler)


def _leave(*_):
  raise KeyboardInterrupt


def _check_port(host):
  """Raises ValueError if the port cannot be used, before anything compiles."""
  if _PORT.value is None:
    return
  with socket.socket() as trial:
    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      trial.bind((host, _PORT.value))
    except OSError as error:
      raise ValueError(
        f"--port={_PORT.value} cannot be used ({error.strerror}): pass another"
        " one, or leave it out."
      ) from None


if __name__ == "__main__":
  cli.run(_run)
