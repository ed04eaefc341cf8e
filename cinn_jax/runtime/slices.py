"""Devices that this machine does not have, by name, to compile for."""

import importlib.util
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from cinn_jax.runtime import flops

GIB = 2**30


class Chip(NamedTuple):
  """The data sheet of a chip.

  Attributes:
    kind: Its name for `flops.peak_flops`.
    topology: Its name for the compiler.
    accelerator: Its name in TPU_ACCELERATOR_TYPE.
    memory: Bytes.
    bandwidth: Bytes per second between its memory and its cores.
    dims: Number of sides of a slice's shape.
  """

  kind: str
  topology: str
  accelerator: str
  memory: float
  bandwidth: float
  dims: int


CHIPS = {
  "v4": Chip("TPU v4", "v4", "v4", 32 * GIB, 1228e9, 3),
  "v5e": Chip("TPU v5e", "v5e", "v5litepod", 16 * GIB, 819e9, 2),
  "v5p": Chip("TPU v5", "v5p", "v5p", 95 * GIB, 2765e9, 3),
  "v6e": Chip("TPU v6e", "v6e", "v6e", 32 * GIB, 1640e9, 2),
}


class Slice(NamedTuple):
  """A number of devices, named as in tpu:v5e:4x4 or cpu:8.

  Attributes:
    name: The name.
    platform: "tpu" or "cpu".
    num_devices: Number of devices.
    chip: The chip; None for a CPU.
  """

  name: str
  platform: str
  num_devices: int
  chip: Chip | None = None

  @property
  def peak_flops(self) -> float | None:
    """Bfloat16 FLOPs per second of a device, or None if it is unknown."""
    return flops.peak_flops(self.chip.kind) if self.chip else None

  def environment(self) -> dict[str, str]:
    """Returns the variables that a process needs before it imports JAX.

    Raises:
      ValueError: if the compiler of the slice is not installed.
    """
    if not self.chip:
      return {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(self.num_devices),
      }
    return {
      "JAX_PLATFORMS": "cpu",
      # Otherwise libtpu asks a server that only a TPU's host has, and waits.
      "TPU_SKIP_MDS_QUERY": "1",
      "TPU_ACCELERATOR_TYPE": f"{self.chip.accelerator}-{self.num_devices}",
      "TPU_WORKER_HOSTNAMES": "localhost",
      "TPU_LIBRARY_PATH": _libtpu(),
    }

  def devices(self, say: Callable[[str], None]) -> Any:
    """Returns the devices, in a process with this slice's `environment`.

    Args:
      say: Is called with what it waits for.

    Raises:
      ValueError: if the compiler does not know the slice.
    """
    import jax

    if not self.chip:
      return jax.devices()
    shape = self.name.rpartition(":")[2]
    return _topology(f"{self.chip.topology}:{shape}", say).devices


def parse(name: str) -> Slice:
  """Returns the slice of a name, such as tpu:v5e:4x4, tpu:v4:2x2x1 or cpu:8.

  Raises:
    ValueError: in one line, for any other name.
  """
  platform, _, rest = name.partition(":")
  kind, _, shape = rest.partition(":")
  sides = shape.split("x")
  if platform == "cpu" and rest.isdecimal() and 0 < int(rest) <= 4096:
    return Slice(name, "cpu", int(rest))
  is_shape = all(side.isdecimal() and int(side) for side in sides)
  if platform == "tpu" and kind in CHIPS and is_shape:
    chip = CHIPS[kind]
    if len(sides) == chip.dims:
      count = 1
      for side in sides:
        count *= int(side)
      return Slice(name, "tpu", count, chip)
  examples = ["cpu:8"]
  for kind, chip in CHIPS.items():
    examples.append(f"tpu:{kind}:{'2x2x1' if chip.dims == 3 else '2x2'}")
  raise ValueError(
    f"--devices={name} names no devices; write one such as"
    f" {', '.join(examples)}."
  )


def _libtpu():
  found = importlib.util.find_spec("libtpu")
  for folder in (found and found.submodule_search_locations) or ():
    library = pathlib.Path(folder) / "libtpu.so"
    if library.exists():
      return os.fspath(library)
  raise ValueError(
    "To compile for TPUs, libtpu is needed: pip install libtpu, or"
    " CINN_JAX_EXTRAS=+preflight launch/local.sh true."
  )


def _topology(name, say):
  from jax.experimental import topologies

  waits = False
  while True:
    try:
      return topologies.get_topology_desc(platform="tpu", topology_name=name)
    except Exception as error:  # JAX's own errors have no common class.
      if "lockfile" not in str(error):
        reason = " ".join(str(error).split())
        raise ValueError(
          f"The TPU compiler does not know the slice {name}: {reason}"
        ) from None
    if not waits:
      say("another process to release libtpu")
      waits = True
    time.sleep(2)
