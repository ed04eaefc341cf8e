"""Metadata of a photograph, from its file to the files of its results."""

import functools
import struct
from typing import Any, NamedTuple

from PIL import ExifTags, Image, ImageCms, TiffTags

from cinn_jax.images import formats, reading

_EXIF, _GPS = int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)
_Base = ExifTags.Base
# Tags of the main directory that describe the photograph, not its pixels.
_KEPT = {
  int(tag)
  for tag in (
    _Base.ImageDescription,
    _Base.Make,
    _Base.Model,
    _Base.Software,
    _Base.DateTime,
    _Base.Artist,
    _Base.Copyright,
    _Base.XPTitle,
    _Base.XPComment,
    _Base.XPAuthor,
    _Base.XPKeywords,
    _Base.XPSubject,
  )
}
# Tags of the Exif directory that would be wrong in a result.
_DROPPED = {
  int(tag)
  for tag in (
    _Base.MakerNote,  # Its offsets point into the old file.
    _Base.ColorSpace,
    _Base.ExifImageWidth,
    _Base.ExifImageHeight,
    _Base.ExifInteroperabilityOffset,
  )
}
_SRGB, _UPRIGHT = 1, 1
# Text chunks of a PNG that are kept, besides its EXIF.
_TEXTS = ("Title", "Author", "Description", "Copyright", "Comment")
# Parts of other files that are not, and their names.
_NOT_KEPT = {"xmp": "XMP", "comment": "the comment"}
_XMP_TEXT = "XML:com.adobe.xmp"
# IPTC: a block of a JPEG's "photoshop" part, and a tag of a TIFF.
_IPTC_BLOCK, _IPTC_TAG = 0x0404, 33723


class Metadata(NamedTuple):
  """Metadata to write into a result.

  Attributes:
    exif: The EXIF block of an upright sRGB picture; empty if there is none.
    dpi: Pixels per inch, horizontal and vertical, or None.
    texts: Text by keyword, as in a PNG.
    lost: What a result cannot keep, in words.
  """

  exif: bytes = b""
  dpi: tuple[float, float] | None = None
  texts: tuple[tuple[str, str], ...] = ()
  lost: tuple[str, ...] = ()


def read(source: reading.Source) -> Metadata:
  """Reads the metadata of a picture.

  Metadata that cannot be read is left out: it does not make the picture bad.

  Raises:
    UnreadableImage: if the file is no picture that `reading.decode` reads.
  """
  name, data = reading.contents(source)
  with reading.reasons(name):
    image = formats.open_header(data, name)
  lost = []
  if image.has_transparency_data:
    lost.append("transparency (it is put on white)")
  if (frames := formats.num_pictures(image)) > 1:
    lost.append(f"all but one of its {frames} pictures")
  lost += [
    word for key, word in _NOT_KEPT.items() if image.info.get(key) is not None
  ]
  if _has_iptc(image):
    lost.append("IPTC")
  # A PNG's other texts; XMP has a name of its own.
  texts = getattr(image, "text", {})
  others = [key for key in texts if key not in (*_TEXTS, _XMP_TEXT)]
  lost += [f"the text {key!r}" for key in others]
  try:
    exif = _upright(image.getexif())
  except Exception:  # A broken block raises nearly anything.
    exif = b""
    lost.append("EXIF that cannot be read")
  return Metadata(
    exif=exif,
    dpi=_dpi(image.info.get("dpi")),
    texts=tuple(
      (key, str(image.info[key])) for key in _TEXTS if key in image.info
    ),
    lost=tuple(lost),
  )


def _has_iptc(image):
  blocks = image.info.get("photoshop")
  tags = getattr(image, "tag_v2", {})
  in_jpeg = isinstance(blocks, dict) and _IPTC_BLOCK in blocks
  return in_jpeg or _IPTC_TAG in tags


def _upright(old: Any) -> bytes:
  """Returns the EXIF block without whatever its pixels no longer match."""
  new = Image.Exif()
  for tag in _KEPT & set(old):
    new[tag] = _raw(tag, old[tag])
  for directory in (_EXIF, _GPS):
    kept = {
      tag: _raw(tag, value)
      for tag, value in old.get_ifd(directory).items()
      if tag not in _DROPPED
    }
    if kept:
      new.get_ifd(directory).update(kept)
  if not new and not new.get_ifd(_EXIF) and not new.get_ifd(_GPS):
    return b""
  new[int(_Base.Orientation)] = _UPRIGHT
  new.get_ifd(_EXIF)[int(_Base.ColorSpace)] = _SRGB
  return new.tobytes()


def _raw(tag, value):
  """Returns text as the bytes of the file, which Pillow reads as Latin-1.

  Pillow would write other text than ASCII with question marks. Bytes of a tag
  whose type it does not know would become numbers.
  """
  is_text = TiffTags.lookup(tag).type == TiffTags.ASCII
  is_wide = isinstance(value, str) and not value.isascii()
  return value.encode("latin-1") if is_text and is_wide else value


def has_directories(exif: bytes) -> bool:
  """Returns whether an EXIF block says more than the main directory does.

  That is exposure, lens and times, or a place.
  """
  block = Image.Exif()
  block.load(exif)
  own = set(block.get_ifd(_EXIF)) - {int(_Base.ColorSpace)}
  return bool(own or block.get_ifd(_GPS))


def _dpi(value) -> tuple[float, float] | None:
  try:
    x, y = (float(number) for number in value)
  except (TypeError, ValueError, ZeroDivisionError):
    return None
  # 1 by 1 is written by programs that know no resolution.
  return (x, y) if min(x, y) > 1 else None


@functools.cache
def srgb_profile() -> bytes:
  """Returns the sRGB profile that results carry, always the same bytes."""
  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  # Bytes 24 to 36 are the time at which it was made.
  date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
  return profile[:24] + date + profile[36:]
