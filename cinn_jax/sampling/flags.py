"""Flags of `--mode=sample`; other modes that draw samples share some of them.

Imports no JAX, so that --help is quick.
"""

from typing import TYPE_CHECKING

from absl import flags

from cinn_jax.sampling import temperatures

if TYPE_CHECKING:
  from cinn_jax.sampling import draw

INPUTS = flags.DEFINE_multi_string(
  "inputs",
  [],
  "For --mode=sample: a picture, a folder of pictures, or a quoted pattern such"
  " as 'photos/*.jpg'. May be given several times.",
)
RECURSIVE = flags.DEFINE_bool(
  "recursive",
  False,
  "For --mode=sample: folders in --inputs stand for their subfolders too.",
)
OUTPUT_FORMAT = flags.DEFINE_enum(
  "output_format",
  "",
  ["", "png", "jpg", "webp", "tif"],
  "For --mode=sample: format of the results (default: the input's).",
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
  "For --mode=sample: --inputs are whole pictures, to be made smaller or drawn"
  " as sketches first.",
)
NUM_SAMPLES = flags.DEFINE_integer(
  "num_samples", 8, "Samples per picture.", lower_bound=1
)
KEEP = flags.DEFINE_integer(
  "keep",
  None,
  "For --mode=sample: write only the likeliest of the samples, so many of them"
  " (default: all).",
)
TEMPERATURE = flags.DEFINE_list(
  "temperature",
  "1",
  "Scale of the latents: 0.8, or one for each level that --mode=describe lists,"
  " 1:0.8:0. Several, 0,0.5,1, get a folder each in --outputs from"
  " --mode=sample, and rows each in the table of --mode=evaluate.",
)


@flags.validator(TEMPERATURE.name)
def _is_temperature(words):
  try:
    return bool([temperatures.parse(text) for text in words or [""]])
  except ValueError as error:
    raise flags.ValidationError(str(error)) from None


SEED = flags.DEFINE_integer("seed", 0, "Seed for sampling.")


def read_temperatures() -> list[float | list[float]]:
  """Returns the values of `--temperature`.

  Raises:
    ValueError: if one is no temperature, see `temperatures.parse`, or stands
      there twice.
  """
  values = [temperatures.parse(text) for text in TEMPERATURE.value or [""]]
  if twice := [value for k, value in enumerate(values) if value in values[:k]]:
    raise ValueError(
      f"--temperature has {temperatures.name(twice[0])} twice: name each once."
    )
  return values


def read_sampling(mode: str, *, several: bool = False) -> "draw.Sampling":
  """Returns how a mode draws samples of the test pictures.

  Args:
    mode: Its name, for the error message.
    several: Whether it takes several temperatures.

  Raises:
    ValueError: if it takes one and there are several, for no temperature, and
      with `--keep`.
  """
  from cinn_jax.sampling import draw

  if KEEP.value is not None:
    raise ValueError(f"--keep is for --mode=sample, not for --mode={mode}.")
  values = read_temperatures()
  if len(values) != 1 and not several:
    raise ValueError(
      f"--mode={mode} takes one --temperature, got"
      f" {','.join(TEMPERATURE.value)!r}; sample and evaluate take several."
    )
  return draw.Sampling(NUM_SAMPLES.value, values, SEED.value)
