"""Makes picture files of the kinds that cameras and scanners produce."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image, ImageCms


def colors(height=24, width=36) -> np.ndarray:
  """Returns a smooth picture without symmetry, uint8 [H, W, 3]."""
  y, x = np.mgrid[:height, :width]
  red, green = 255 * x / (width - 1), 255 * y / (height - 1)
  blue = 40 + 160 * np.exp(-((x - 5) ** 2 + (y - 6) ** 2) / 60)
  return np.stack([red, green, blue], -1).round().astype(np.uint8)


def deep(channels=3, height=9, width=14, seed=0) -> np.ndarray:
  """Returns noise of 16 bits, uint16 [H, W, C], or [H, W] for 0 channels."""
  shape = (height, width) + ((channels,) if channels else ())
  generator = np.random.default_rng(seed)
  return generator.integers(0, 65536, shape, dtype=np.uint16)


def encoded(picture, kind="PNG", **options) -> bytes:
  """Encodes a numpy array or a Pillow image as a file of that kind."""
  if isinstance(picture, np.ndarray):
    picture = Image.fromarray(picture)
  stream = io.BytesIO()
  picture.save(stream, kind, **options)
  return stream.getvalue()


def tiff(samples, **options) -> bytes:
  """Encodes an array as TIFF with tifffile, which can do more than Pillow."""
  stream = io.BytesIO()
  tifffile.imwrite(stream, samples, **options)
  return stream.getvalue()


def png16(samples, transparent=None, icc_profile=None) -> bytes:
  """Encodes a 16-bit PNG of 1 to 4 channels, which Pillow cannot write."""
  samples = samples.reshape(*samples.shape[:2], -1)
  height, width, channels = samples.shape
  kind = {1: 0, 3: 2, 2: 4, 4: 6}[channels]
  header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
  rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
  chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
  if transparent is not None:
    key = struct.pack(f">{channels}H", *transparent)
    chunks.insert(1, (b"tRNS", key))
  if icc_profile is not None:
    chunks.insert(1, (b"iCCP", b"it\0\0" + zlib.compress(icc_profile)))
  return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*c) for c in chunks)


def huge_png(width, height) -> bytes:
  """Returns a few bytes of PNG that claim a picture of any size."""
  header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
  return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*c) for c in chunks)


def oriented(picture, orientation, kind) -> bytes:
  """Encodes a picture unchanged, with an EXIF orientation."""
  exif = Image.Exif()
  exif[0x0112] = orientation
  return encoded(picture, kind, exif=exif.tobytes(), **LOSSLESS[kind])


def upright(samples, orientation) -> np.ndarray:
  """Returns samples [H, W, ...] turned by an EXIF orientation, 1 to 8."""
  if orientation > 4:
    samples = samples.swapaxes(0, 1)
  flip_rows, flip_columns = (
    orientation in (3, 4, 7, 8),
    orientation in (2, 3, 6, 7),
  )
  samples = samples[::-1] if flip_rows else samples
  return samples[:, ::-1] if flip_columns else samples


def distance(a, b) -> int:
  """Returns the largest difference between two pictures of one shape."""
  assert a.shape == b.shape
  return np.abs(a.astype(int) - b.astype(int)).max()


def wide_gamut_profile(called="else"):
  """Returns a profile with the primaries of sRGB, but a gamma of 1."""
  profile = bytearray(
    ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  )
  linear = b"curv" + bytes(4) + struct.pack(">I", 0)
  count = struct.unpack(">I", profile[128:132])[0]
  for i in range(count):
    name, offset, _ = struct.unpack(
      ">4sII", profile[132 + 12 * i : 144 + 12 * i]
    )
    if name in (b"rTRC", b"gTRC", b"bTRC"):
      profile[offset : offset + 12] = linear
  return bytes(profile).replace(
    "sRGB".encode("utf-16-be"), called.encode("utf-16-be")
  )


def linear_grey_profile() -> bytes:
  """Returns an ICC profile whose samples are proportional to light."""
  white = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
  name = b"linear grey\0"
  tags = {
    b"desc": struct.pack(">4s4xI", b"desc", len(name)) + name + bytes(78),
    b"wtpt": white,
    b"kTRC": struct.pack(">4s4xI", b"curv", 0),
    b"cprt": b"text" + bytes(4) + b"none\0",
  }
  table, body = struct.pack(">I", len(tags)), b""
  start = 128 + 4 + 12 * len(tags)
  for tag, value in tags.items():
    table += struct.pack(">4sII", tag, start + len(body), len(value))
    body += value.ljust(-(-len(value) // 4) * 4, b"\0")
  header = struct.pack(
    ">8xI4s4s4s12x4s", 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp"
  )
  header = header.ljust(68, b"\0") + white[8:]
  profile = header.ljust(128, b"\0") + table + body
  return struct.pack(">I", len(profile)) + profile[4:]


LOSSLESS = {
  "PNG": {},
  "WEBP": {"lossless": True},
  "TIFF": {},
  "JPEG": {"quality": 100, "subsampling": 0},
}


def _chunk(kind, body):
  check = struct.pack(">I", zlib.crc32(kind + body))
  return struct.pack(">I", len(body)) + kind + body + check
