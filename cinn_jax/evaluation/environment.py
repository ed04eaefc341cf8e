"""What numbers were made with."""

import importlib.metadata
import os
import platform

import jax

_PACKAGES = ("cinn_jax", "jax", "jaxlib", "flax", "numpy")


def environment():
  """Returns the hardware and the versions that the numbers were made with."""
  device = jax.devices()[0]
  return {
    "hardware": {
      "machine": platform.machine(),
      "cpu_count": os.cpu_count(),
      "platform": device.platform,
      "device_kind": device.device_kind,
      "device_count": jax.device_count(),
    },
    "versions": {
      "python": platform.python_version(),
      **{name: _version(name) for name in _PACKAGES},
    },
  }


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return "not installed"  # such as cinn_jax, run from its folder
