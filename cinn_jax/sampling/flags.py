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
TEMPERATURE = flags.DEFINE_list(
  "temperature",
  "1",
  "Scale of the latents: 0.8, or one for each level that --mode=describe lists,"
  " 1:0.8:0. For --mode=sample also several, 0,0.5,1: each gets a folder in"
  " --outputs.",
)
SEED = flags.DEFINE_integer("seed", 0, "Seed for sampling.")


def read_temperatures() -> list[float | list[float]]:
  """Returns the values of `--temperature`.

  Raises:
    ValueError: if one is no temperature, see `temperatures.parse`.
  """
  return [temperatures.parse(text) for text in TEMPERATURE.value or [""]]


def read_sampling(mode: str) -> "draw.Sampling":
  """Returns how a mode that takes one `--temperature` draws samples.

  Args:
    mode: Its name, for the error message.

  Raises:
    ValueError: if there are several, or it is no temperature.
  """
  from cinn_jax.sampling import draw

  values = read_temperatures()
  if len(values) != 1:
    raise ValueError(
      f"--mode={mode} takes one --temperature, got"
      f" {','.join(TEMPERATURE.value)!r}; --mode=sample takes several."
    )
  return draw.Sampling(NUM_SAMPLES.value, values[0], SEED.value)
