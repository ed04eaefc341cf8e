"""What configs build by name: models and tasks, with their settings."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def build(
  kind: str,
  builders: Mapping[str, Callable],
  name: str,
  settings: Mapping[str, Any],
):
  """`builders[name](**settings)`.

  Raises:
    ValueError: for an unknown name, a setting that it does not have, or one
      that it needs.
  """
  if name not in builders:
    raise ValueError(
      f"Unknown {kind} {name!r}; there are {', '.join(sorted(builders))}."
    )
  try:
    inspect.signature(builders[name]).bind(**settings)
  except TypeError as error:
    raise ValueError(
      f"The settings of {kind} {name!r} do not fit ({error}): take the --config"
      f" of another, or change its section {kind!r}."
    ) from None
  return builders[name](**settings)
