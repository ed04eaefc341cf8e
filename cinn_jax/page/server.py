"""The server of the page, which only this machine can reach."""

import os
import pathlib
from collections.abc import Mapping

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cinn_jax.page.layout import STYLE, Page, theme
from cinn_jax.page.runs import Run
from cinn_jax.page.sessions import Sessions

HOST = "127.0.0.1"
# With it, the browser itself refuses any other address.
_POLICY = (
  "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:;"
  " form-action 'self'; frame-ancestors 'none'"
)


class LocalOnly:
  """Middleware that keeps the page from loading anything from elsewhere."""

  def __init__(self, app: ASGIApp):
    self._app = app

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    async def send_with_policy(message: Message) -> None:
      if message["type"] == "http.response.start":
        headers = [*message["headers"]]
        headers.append((b"content-security-policy", _POLICY.encode()))
        message = {**message, "headers": headers}
      await send(message)

    await self._app(scope, receive, send_with_policy)


class Server:
  """A running page.

  Args:
    runs: The runs by name.
    folder: Folder for temporary files.
    port: The port; None takes the first free one from 7860 on.
    open_browser: Opens the page in the browser.

  Attributes:
    url: The address of the page.
    sessions: The tabs.

  Raises:
    OSError: if the port is taken.
  """

  def __init__(
    self,
    runs: Mapping[str, Run],
    folder: pathlib.Path,
    *,
    port: int | None = None,
    open_browser: bool = False,
  ):
    # gradio asks its own server whether it runs, never through a proxy.
    for name in ("NO_PROXY", "no_proxy"):
      others = os.environ.get(name)
      os.environ[name] = ",".join(filter(None, (others, HOST, "localhost")))
    # gradio reads this when the page is built.
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    files = folder / "tabs"
    files.mkdir(parents=True)
    # Files are served from there, so no copy of them outlives the tab.
    gr.set_static_paths([files])
    self.sessions = Sessions(files)
    self._blocks = Page(runs, self.sessions).blocks
    hosts = [HOST, "localhost"]
    _, self.url, _ = self._blocks.launch(
      server_name=HOST,
      server_port=port,
      share=False,
      inbrowser=open_browser,
      prevent_thread_lock=True,
      quiet=True,
      footer_links=[],
      run_history=False,
      ssr_mode=False,
      pwa=False,
      mcp_server=False,
      enable_monitoring=False,
      theme=theme(),
      css=STYLE,
      app_kwargs={
        "middleware": [
          Middleware(LocalOnly),
          Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
        ]
      },
    )

  def close(self) -> None:
    """Stops the server and removes the files of all tabs."""
    self._blocks.close(verbose=False)
    self.sessions.close_all()
