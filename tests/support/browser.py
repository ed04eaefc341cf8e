"""A page in a real browser: what it shows, asks for and complains of."""

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROBE = """<script>
window.addEventListener("load", () => {
  const seen = {
    title: document.title,
    widths: [...document.images].map(image => image.naturalWidth),
    requests: performance.getEntriesByType("resource").map(e => e.name),
    overflow: document.documentElement.scrollWidth - innerWidth,
    text: document.body.innerText,
  };
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify(seen);
  document.body.append(probe);
});
</script>"""


def find():
  """The path of an installed browser, or None."""
  return next(filter(None, map(shutil.which, NAMES)), None)


def look_at(page, folder):
  """What a browser sees of an HTML file.

  Returns `{"title", "widths", "requests", "overflow", "text", "console"}`:
  natural widths of the images, 0 for one that did not load; addresses that the
  page asked for, itself and what is inside it left out; and what stands in the
  browser's console.
  """
  text = page.read_text(encoding="utf-8")
  # As it is, for the console; then without its own ban on scripts and requests.
  console = _run(page, folder)[1]
  text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
  probed = folder / "probed.html"
  probed.write_text(text.replace("</head>", f"{PROBE}</head>"), "utf-8")
  dom, _ = _run(probed, folder)
  [found] = re.findall(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
  lines = [line for line in console.splitlines() if ":CONSOLE" in line]
  return json.loads(html.unescape(found)) | {"console": lines}


def _run(page, folder):
  result = subprocess.run(
    [
      *(find(), "--headless=new", "--no-sandbox", "--disable-gpu"),
      *("--disable-background-networking", "--enable-logging=stderr"),
      *("--window-size=1280,900", f"--user-data-dir={folder / 'profile'}"),
      *("--virtual-time-budget=5000", "--dump-dom", page.as_uri()),
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=True,
  )
  return result.stdout, result.stderr
