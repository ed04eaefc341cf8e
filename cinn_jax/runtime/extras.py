"""Extras: packages that only some uses need."""


def how_to_get(name: str) -> str:
  """Returns the commands that install an extra of setup.cfg, for messages."""
  return (
    f"CINN_JAX_EXTRAS=+{name} launch/local.sh true, or in an environment of"
    f" your own pip install -e '.[{name}]'"
  )
