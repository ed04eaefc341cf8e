"""The argument of a config: a model and settings, `caflow,size=64,scale=8`."""

from collections.abc import Iterable, Mapping
from typing import Any


def parse(
  file: str,
  argument: str,
  models: Iterable[str],
  settings: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
  """Parses the argument of a config.

  The model comes first and may be left out. NAME=VALUE follow in any order.

  Args:
    file: Name of the config, for error messages.
    argument: Text such as "caflow,size=64"; "" stands for all defaults.
    models: Names of the models, the default first.
    settings: Defaults by name; a value has the type of its default. A tuple
      lists all allowed values, the default first. "size" may also be HxW, for
      pictures that are not square.

  Returns:
    The name of the model, and a value for each of `settings`.

  Raises:
    ValueError: in one line, for an unknown model, setting or value.
  """
  models = tuple(models)
  words = [word.strip() for word in argument.split(",") if word.strip()]
  model = words.pop(0) if words and "=" not in words[0] else models[0]
  if model not in models:
    raise ValueError(
      f"{file} has no model {model!r}; there are {', '.join(models)}."
    )
  chosen = {
    name: value[0] if isinstance(value, tuple) else value
    for name, value in settings.items()
  }
  for word in words:
    name, separator, value = word.partition("=")
    if not separator or name not in settings:
      raise ValueError(
        f"{file} has no setting {word!r}; it takes a model first"
        f" ({', '.join(models)}) and then {_listed(settings)}."
      )
    chosen[name] = _value(file, name, value, settings[name])
  return model, chosen


def _listed(settings):
  def shown(value):
    if isinstance(value, tuple):
      return "|".join(map(str, value))
    return str(value)

  return ", ".join(f"{name}={shown(v)}" for name, v in settings.items())


def _value(file, name, text, default):
  if isinstance(default, tuple):
    by_text = {str(value): value for value in default}
    if text not in by_text:
      raise ValueError(
        f"{file}: {name} must be one of {', '.join(by_text)}, got {text!r}."
      )
    return by_text[text]
  try:
    if name == "size" and "x" in text:
      height, width = text.split("x")
      return (int(height), int(width))
    return type(default)(text)
  except ValueError:
    kind = {int: "a whole number", float: "a number"}[type(default)]
    raise ValueError(f"{file}: {name} must be {kind}, got {text!r}.") from None
