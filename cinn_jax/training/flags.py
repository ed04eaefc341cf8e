"""Flags of `--mode=train` and `--mode=preflight`.

Imports no JAX, so that --help is quick.
"""

from absl import flags

PROFILE = flags.DEFINE_bool(
  "profile", False, "Trace a few steps of training into WORKDIR/profile."
)
DEVICES = flags.DEFINE_string(
  "devices", "cpu:8", "For --mode=preflight: tpu:v5e:4x4, cpu:8, ..."
)
LIMIT = flags.DEFINE_float(
  "limit", 1800, "For --mode=preflight: seconds after which it gives up.", 1
)

# The modes that each flag is for.
MODES: dict[str, tuple[str, ...]] = {
  PROFILE.name: ("train",),
  DEVICES.name: ("preflight",),
  LIMIT.name: ("preflight",),
}
