"""A bucket on this machine, with the part of Google's interface that we need.

The fixture `bucket` of tests/conftest.py starts it. Writes check generations as
in a real bucket, so tests notice two that collide.
"""

import contextlib
import datetime
import http.server
import itertools
import json
import sys
import threading
import urllib.parse
from typing import NamedTuple


class Object(NamedTuple):
  """One object, with a number that changes with every write."""

  content: bytes
  generation: int
  written: str


class Server(http.server.ThreadingHTTPServer):
  """A server of one bucket.

  Attributes:
    objects: Objects by name.
    requests: (command, path, query) of each request.
    read_only: Set it to True to forbid writing.
  """

  daemon_threads = True
  request_queue_size = 128

  def __init__(self):
    super().__init__(("localhost", 0), _Handler)
    self.objects = {}
    self.requests = []
    self.read_only = False
    self.uploads = {}
    self.lock = threading.Lock()
    self.numbers = itertools.count(1)

  @property
  def settings(self):
    """The environment variables that lead Google's clients to this server."""
    host, port = self.server_address
    return {
      "TENSORSTORE_GCS_HTTP_URL": f"http://{host}:{port}",
      "GOOGLE_AUTH_TOKEN_FOR_TESTING": "any",
      "STORAGE_EMULATOR_HOST": f"http://{host}:{port}",
      "FSSPEC_GCS_TOKEN": "anon",
      # gcsfs would ask for the kind of the bucket in another protocol.
      "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }

  def handle_error(self, *_):
    if not isinstance(sys.exception(), ConnectionError):
      raise


class _Refused(Exception):
  """A refusal; its argument is the HTTP status."""


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  # Otherwise small answers wait until earlier ones are acknowledged.
  disable_nagle_algorithm = True

  def _answer(self):
    url = urllib.parse.urlsplit(self.path)
    query = dict(urllib.parse.parse_qsl(url.query))
    size = int(self.headers.get("Content-Length") or 0)
    body = self.rfile.read(size)
    # The path is /storage/v1/b/bucket/o/NAME, or one of uploads or downloads
    # with another start.
    _, is_bucket, place = url.path.partition("/b/bucket")
    name = urllib.parse.unquote(place.removeprefix("/o").removeprefix("/"))
    path = urllib.parse.unquote(url.path)
    self.server.requests.append((self.command, path, query))
    try:
      if not is_bucket:
        raise _Refused(404)
      if self.server.read_only and self.command != "GET":
        raise _Refused(403)
      with self.server.lock:
        self._do(place, name, query, body)
    except _Refused as refused:
      self._send(refused.args[0])

  do_GET = do_POST = do_PUT = do_DELETE = _answer

  def _do(self, place, name, query, body):
    if "uploadType" in query:
      self._upload(query, body)
    elif "/rewriteTo/b/bucket/o/" in place:
      source, target = place.removeprefix("/o/").split("/rewriteTo/b/bucket/o/")
      source, target = map(urllib.parse.unquote, (source, target))
      written = self._write(target, self._object(source, query).content, query)
      self._send_json({"done": True, "resource": written})
    elif self.command == "DELETE":
      self._object(name, query)
      self._check(name, query)
      del self.server.objects[name]
      self._send(204)
    elif place == "/o":
      self._list(query)
    elif not place:
      self._send_json({"kind": "storage#bucket", "name": "bucket"})
    elif query.get("alt") == "media":
      self._download(self._object(name, query))
    else:
      self._send_json(_metadata(name, self._object(name, query)))

  def _object(self, name, query):
    item = self.server.objects.get(name)
    if item is None:
      raise _Refused(404)
    if query.get("ifGenerationNotMatch") == str(item.generation):
      raise _Refused(304)
    return item

  def _check(self, name, query):
    item = self.server.objects.get(name)
    current = str(item.generation if item else 0)
    if query.get("ifGenerationMatch", current) != current:
      raise _Refused(412)

  def _write(self, name, content, query):
    self._check(name, query)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    written = Object(content, next(self.server.numbers), now)
    self.server.objects[name] = written
    return _metadata(name, written)

  def _upload(self, query, body):
    if query["uploadType"] == "media":
      self._send_json(self._write(query["name"], body, query))
      return
    assert query["uploadType"] == "resumable", query
    if "upload_id" not in query:
      number = str(next(self.server.numbers))
      self.server.uploads[number] = b""
      host, port = self.server.server_address
      self._send(
        200,
        b"{}",
        Location=f"http://{host}:{port}{self.path}&upload_id={number}",
      )
      return
    uploads, number = self.server.uploads, query["upload_id"]
    uploads[number] += body
    if self.headers["Content-Range"].endswith("/*"):
      self._send(308, Range=f"bytes=0-{len(uploads[number]) - 1}")
    else:
      self._send_json(self._write(query["name"], uploads.pop(number), query))

  def _list(self, query):
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    items, folders = [], set()
    for name in sorted(self.server.objects):
      if not name.startswith(prefix):
        continue
      inside, cut, _ = name[len(prefix) :].partition(delimiter or "\0")
      if cut:
        folders.add(prefix + inside + cut)
      else:
        items.append(_metadata(name, self.server.objects[name]))
    self._send_json({"items": items, "prefixes": sorted(folders)})

  def _download(self, item):
    content, status, headers = item.content, 200, {}
    if span := self.headers.get("Range"):
      first, last = span.removeprefix("bytes=").split("-")
      first = int(first) if first else len(content) - int(last)
      end = min(int(last) + 1 if last else len(content), len(content))
      if first >= len(content):
        raise _Refused(416)
      status = 206
      headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
      content = content[first:end]
    self._send(
      status, content, **headers, **{"x-goog-generation": str(item.generation)}
    )

  def _send_json(self, answer):
    self._send(
      200, json.dumps(answer).encode(), **{"Content-Type": "application/json"}
    )

  def _send(self, status, content=b"", **headers):
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    # A client may hang up early.
    with contextlib.suppress(ConnectionError):
      self.wfile.write(content)

  def log_message(self, *_):
    pass


def _metadata(name, item):
  return {
    "kind": "storage#object",
    "bucket": "bucket",
    "name": name,
    "size": str(len(item.content)),
    "generation": str(item.generation),
    "metageneration": "1",
    "timeCreated": item.written,
    "updated": item.written,
  }
