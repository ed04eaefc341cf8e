"""The files of results: their format, names and metadata."""

import pathlib
from typing import NamedTuple

import numpy as np

from cinn_jax.images import writing
from cinn_jax.sampling.subject import Subject
from cinn_jax.sampling.thumbnails import as_uint8

FORMATS = ("png", "jpg", "webp", "tif")


class Form(NamedTuple):
  """The format of results.

  Attributes:
    output_format: One of `FORMATS`; or "" for JPEG if the input is one, TIFF
      for more than 8 bits, else PNG.
    quality: Quality of JPEG and WebP, 1 to 100.
  """

  output_format: str = ""
  quality: int = writing.QUALITY

  def check(self) -> None:
    """Raises ValueError if the format does not exist."""
    if self.output_format not in ("", *FORMATS):
      raise ValueError(
        f"unknown output format {self.output_format!r}, expected one of"
        f" {', '.join(FORMATS)}."
      )

  def suffix(self, subject: Subject) -> str:
    """Returns the ending of the files of a subject's samples."""
    return f".{self.output_format}" if self.output_format else subject.suffix

  def note(self, subject: Subject) -> str:
    """Returns a subject's note, and what the files of its samples lose."""
    suffix, lost = self.suffix(subject), list(subject.metadata.lost)
    if subject.suffix == ".tif" and suffix != ".tif":
      lost.append("16 bits per channel")
    lost += writing.not_kept(suffix, subject.metadata)
    notes = [subject.note, f"not kept: {', '.join(lost)}" if lost else ""]
    return "; ".join(filter(None, notes))

  def save(
    self, subject: Subject, path: pathlib.Path, picture: np.ndarray
  ) -> None:
    """Writes one sample [H, W, 3] with the metadata of its photograph."""
    if path.suffix.lower() not in writing.SUFFIXES[picture.dtype.name]:
      picture = as_uint8(picture)
    writing.save_photo(path, picture, subject.metadata, quality=self.quality)
