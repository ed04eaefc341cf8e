"""Flags of `--mode=sample`; other modes that draw samples share some of them.

Imports no JAX, so that --help is quick.
"""

import os
from typing import TYPE_CHECKING, Any

from absl import flags

from cinn_jax.sampling import temperatures

# `--diverse=8` draws this many times 8 samples by default.
_DRAWN = 8

if TYPE_CHECKING:
  from cinn_jax.sampling import choice, draw, photos

INPUTS = flags.DEFINE_multi_string(
  "inputs",
  [],
  "For --mode=sample: a picture, a folder of pictures, or a quoted pattern such"
  " as 'photos/*.jpg'. May be given several times.",
)
RECURSIVE = flags.DEFINE_bool(
  "recursive",
  False,
  "For --mode=sample: also take the subfolders of folders in --inputs.",
)
OUTPUT_FORMAT = flags.DEFINE_enum(
  "output_format",
  "",
  ["", "png", "jpg", "webp", "tif"],
  "For --mode=sample: format of the results (default, for colorization: JPEG"
  " for a JPEG, TIFF for more than 8 bits; else PNG).",
)
QUALITY = flags.DEFINE_integer(
  "quality",
  95,
  "For --mode=sample: quality of JPEG and WebP.",
  lower_bound=1,
  upper_bound=100,
)
DEGRADE = flags.DEFINE_bool(
  "degrade",
  False,
  "For --mode=sample: --inputs are whole pictures, which are first made smaller"
  " or turned into sketches.",
)
NUM_SAMPLES = flags.DEFINE_integer(
  "num_samples", 8, "Samples per picture.", lower_bound=1
)
KEEP = flags.DEFINE_integer(
  "keep",
  None,
  "For --mode=sample: write only this many samples, the likeliest ones"
  " (default: all).",
  lower_bound=1,
)
DIVERSE = flags.DEFINE_integer(
  "diverse",
  None,
  "For --mode=sample: write this many samples that are far apart, each with the"
  " share of all samples that are nearest to it. Draws eight times as many, or"
  " --num_samples.",
  lower_bound=1,
)
ONLY = flags.DEFINE_list(
  "only",
  [],
  "For --mode=sample: write only the samples with these numbers on the sheet,"
  " such as 3 or 3,5. With --diverse=N, they are numbers from 1 to N.",
)
HINTS = flags.DEFINE_string(
  "hints",
  None,
  "For --mode=sample of photographs: a JSON file of points whose colours are"
  ' known, [{"x": 120, "y": 80, "color": [200, 30, 40]}].',
)
REFERENCE = flags.DEFINE_string(
  "reference",
  None,
  "For --mode=sample of photographs: a photograph to take colours from.",
)
PREVIEW = flags.DEFINE_bool(
  "preview",
  False,
  "For --mode=sample of photographs: write results of at most 512 pixels on a"
  " side to OUTPUTS/preview, which is quick. Then --only, without --preview,"
  " writes some at full size.",
)
ODDS = flags.DEFINE_bool(
  "odds",
  False,
  "For --mode=sample of photographs: tell the odds of colours, in words and in"
  " samples.json, and draw a map of how unsure each pixel is. After"
  " --mode=calibrate, also intervals that hold the truth as often as they say.",
)
DENOISE = flags.DEFINE_bool(
  "denoise",
  False,
  "For --mode=sample of runs trained with Gaussian noise, such as digits:"
  " remove that noise from the samples.",
)
TEMPERATURE = flags.DEFINE_list(
  "temperature",
  "1",
  "Scale of the latents: one number such as 0.8, or one for each level that"
  " --mode=describe lists, such as 1:0.8:0. For several, such as 0,0.5,1,"
  " --mode=sample writes a folder each in --outputs, and --mode=evaluate adds"
  " rows for each to its table.",
)


@flags.validator(TEMPERATURE.name)
def _is_temperature(words):
  try:
    return bool([temperatures.parse(text) for text in words or [""]])
  except ValueError as error:
    raise flags.ValidationError(str(error)) from None


SEED = flags.DEFINE_integer(
  "seed",
  0,
  "Seed of the samples. Training has --config.train.seed.",
  lower_bound=0,
  upper_bound=2**32 - 1,
)


_DRAWING = ("sample", "evaluate", "calibrate", "report")
# The modes that each flag is for.
MODES: dict[str, tuple[str, ...]] = {
  NUM_SAMPLES.name: _DRAWING,
  TEMPERATURE.name: _DRAWING,
  SEED.name: (*_DRAWING, "latent"),
  **dict.fromkeys(
    (
      *(INPUTS.name, RECURSIVE.name, DEGRADE.name),
      *(OUTPUT_FORMAT.name, QUALITY.name, PREVIEW.name),
      *(KEEP.name, DIVERSE.name, ONLY.name),
      *(HINTS.name, REFERENCE.name, ODDS.name, DENOISE.name),
    ),
    ("sample",),
  ),
}


def read_temperatures() -> list[float | list[float]]:
  """Returns the values of `--temperature`.

  Raises:
    ValueError: if one is not a temperature, see `temperatures.parse`, or is
      given twice.
  """
  values = [temperatures.parse(text) for text in TEMPERATURE.value or [""]]
  if twice := [value for k, value in enumerate(values) if value in values[:k]]:
    raise ValueError(
      f"--temperature has {temperatures.name(twice[0])} twice: name each once."
    )
  return values


def read_num_samples() -> int:
  """Returns the number of samples to draw per picture."""
  if DIVERSE.value is None or NUM_SAMPLES.present:
    return NUM_SAMPLES.value
  return _DRAWN * DIVERSE.value


def read_choice() -> "choice.Choice":
  """Returns the choice of the samples that `--mode=sample` writes.

  Raises:
    ValueError: if `--only` has no numbers.
  """
  from cinn_jax.sampling import choice

  try:
    only = tuple(int(word) for word in ONLY.value)
  except ValueError:
    raise ValueError(
      f"--only takes numbers of a sheet, such as 3,5; got"
      f" {','.join(ONLY.value)!r}."
    ) from None
  return choice.Choice(KEEP.value, DIVERSE.value, only)


def read_steering() -> "photos.Steering":
  """Returns the known colours, from `--hints` and `--reference`.

  Raises:
    FileNotFoundError: if a file does not exist.
    ValueError: for a file without hints, or that is not a picture.
  """
  from cinn_jax.images import reading
  from cinn_jax.sampling import hints, photos

  known, picture = HINTS.value, REFERENCE.value
  return photos.Steering(
    hints.read(known) if known else (),
    reading.decode(os.path.expanduser(picture)) if picture else None,
    PREVIEW.value,
  )


def read_options() -> dict[str, Any]:
  """Returns the keywords of `sample.sample` for `--mode=sample`.

  Raises:
    ValueError: for wrong flags, see the functions above.
  """
  return {
    "inputs": INPUTS.value,
    "num_samples": read_num_samples(),
    "choice": read_choice(),
    "steering": read_steering(),
    "temperatures": read_temperatures(),
    "seed": SEED.value,
    "degrade": DEGRADE.value,
    "recursive": RECURSIVE.value,
    "output_format": OUTPUT_FORMAT.value,
    "quality": QUALITY.value,
    "odds": ODDS.value,
    "denoise": DENOISE.value,
  }


def read_sampling(mode: str, *, several: bool = False) -> "draw.Sampling":
  """Returns the settings with which a mode draws samples of test pictures.

  Args:
    mode: Name of the mode, for error messages.
    several: Allows several temperatures.

  Raises:
    ValueError: for several temperatures if only one is allowed, or for a wrong
      one.
  """
  from cinn_jax.sampling import draw

  values = read_temperatures()
  if len(values) != 1 and not several:
    raise ValueError(
      f"--mode={mode} takes one --temperature, got"
      f" {','.join(TEMPERATURE.value)!r}; sample, evaluate and calibrate take"
      " several."
    )
  return draw.Sampling(NUM_SAMPLES.value, values, SEED.value)
