"""An HTML page that needs nothing else: no script, no file, no network."""

import base64
import html
import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cinn_jax.evaluation.tables import markup
from cinn_jax.runtime import storage

# The page may load only what it contains.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
img { max-width: 100%; height: auto; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; white-space: nowrap; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8886;
  text-align: left; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
li { overflow-wrap: anywhere; }
pre { overflow-x: auto; font-size: .875rem; }
figure { margin: 1rem 0; }
"""


class Page:
  """Collects sections from top to bottom; all text is escaped."""

  def __init__(self, title: str):
    self._title = title
    self._parts = [f"<h1>{html.escape(title)}</h1>"]

  def heading(self, text: str) -> None:
    """Adds a section's title."""
    self._parts.append(f"<h2>{html.escape(text)}</h2>")

  def text(self, *lines: str) -> None:
    """Adds a paragraph for each line."""
    self._parts += [f"<p>{html.escape(line)}</p>" for line in lines]

  def items(self, lines: Sequence[str]) -> None:
    """Adds a list."""
    items = "\n".join(f"<li>{html.escape(line)}</li>" for line in lines)
    self._parts.append(f"<ul>{items}</ul>")

  def table(self, lines: Sequence[Sequence[str]], left: int = 2) -> None:
    """Adds a table in a frame that scrolls; see `markup.as_html`."""
    element = markup.as_html(lines, left)
    self._parts.append(f'<div class="wide">{element}</div>')

  def code(self, text: str) -> None:
    """Adds text as it is, in a monospaced font."""
    self._parts.append(f"<pre>{html.escape(text)}</pre>")

  def picture(self, image: np.ndarray, caption: str) -> None:
    """Adds a picture, uint8 [H, W, 3], inside the page as PNG."""
    height, width = np.shape(image)[:2]
    with io.BytesIO() as file:
      Image.fromarray(np.asarray(image)).save(file, "PNG")
      data = base64.b64encode(file.getvalue()).decode("ascii")
    caption = html.escape(caption)
    self._parts.append(
      f'<figure><img src="data:image/png;base64,{data}" width="{width}"'
      f' height="{height}" alt="{caption}"><figcaption>{caption}</figcaption>'
      "</figure>"
    )

  def write(self, path: str | os.PathLike) -> None:
    """Writes the page, and creates its folder if necessary."""
    text = "\n".join(
      [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f'<link rel="icon" href="data:,"><title>{html.escape(self._title)}',
        f"</title><style>{_STYLE}</style></head><body>",
        *self._parts,
        "</body></html>\n",
      ]
    )
    storage.write_whole(path, text.encode())
