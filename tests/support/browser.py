"""The view of a page in a real browser: content, requests and errors."""

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROBE = """<script>
window.addEventListener("load", () => {
  const view = {
    title: document.title,
    widths: [...document.images].map(image => image.naturalWidth),
    requests: performance.getEntriesByType("resource").map(e => e.name),
    overflow: document.documentElement.scrollWidth - innerWidth,
    text: document.body.innerText,
  };
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify(view);
  document.body.append(probe);
});
</script>"""


def find():
  """Returns the path of an installed browser, or None."""
  return next(filter(None, map(shutil.which, NAMES)), None)


def view(page, folder):
  """Opens an HTML file in a browser and reports what it shows.

  Args:
    page: Path of the file.
    folder: Folder for temporary files.

  Returns:
    `{"title", "widths", "requests", "overflow", "text", "console"}`. "widths"
    are the natural widths of the images, 0 for one that did not load.
    "requests" are addresses that the page asked for, without itself and data in
    it. "overflow" is how many pixels it is wider than the window. "console" has
    the lines of the browser's console.
  """
  text = page.read_text(encoding="utf-8")
  # First as it is, for the console; then without its own ban on scripts.
  console = _run(page, folder)[1]
  text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
  copy = folder / "probe.html"
  copy.write_text(text.replace("</head>", f"{PROBE}</head>"), "utf-8")
  dom, _ = _run(copy, folder)
  [probe] = re.findall(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
  lines = [line for line in console.splitlines() if ":CONSOLE" in line]
  return json.loads(html.unescape(probe)) | {"console": lines}


def _run(page, folder):
  result = subprocess.run(
    [
      find(),
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--enable-logging=stderr",
      "--window-size=1280,900",
      f"--user-data-dir={folder / 'profile'}",
      "--virtual-time-budget=5000",
      "--dump-dom",
      page.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=True,
  )
  return result.stdout, result.stderr
