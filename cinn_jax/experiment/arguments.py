"""A config's argument: a model and settings, `caflow,size=64,scale=8`."""

from collections.abc import Iterable, Mapping


def parse(
  file: str, argument: str, models: Iterable[str], settings: Mapping
) -> tuple[str, dict]:
  """The model and the settings that a config's argument names.

  The model stands first, or is left out; then NAME=VALUE in any order.

  Args:
    file: the config's name, for messages.
    argument: such as "caflow,size=64"; "" stands for all defaults.
    models: what there is; the first is the default.
    settings: the defaults; a value is of its default's type. Where the default
      is a tuple, it lists what there is, the default first. "size" is a number,
      or HxW for pictures that are not square.

  Raises:
    ValueError: in one line, for what there is not.
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
        f"{file}: {name} is one of {', '.join(by_text)}, got {text!r}."
      )
    return by_text[text]
  try:
    if name == "size" and "x" in text:
      height, width = text.split("x")
      return (int(height), int(width))
    return type(default)(text)
  except ValueError:
    kind = {int: "a whole number", float: "a number"}[type(default)]
    raise ValueError(f"{file}: {name} is {kind}, got {text!r}.") from None
