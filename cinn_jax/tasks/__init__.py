"""Tasks, one file each: they turn pictures into (x, cond), and back."""

from collections.abc import Callable, Mapping

from cinn_jax.tasks.base import Task
from cinn_jax.tasks.class_conditional import class_conditional
from cinn_jax.tasks.color_mnist import color_mnist
from cinn_jax.tasks.colorize import colorize
from cinn_jax.tasks.colorize_rgb import colorize_rgb
from cinn_jax.tasks.generate import generate
from cinn_jax.tasks.inpaint import inpaint
from cinn_jax.tasks.sketch import sketch
from cinn_jax.tasks.super_resolution import super_resolution

__all__ = ["BUILDERS", "Task"]

# By `config.task.name`; the other settings of `config.task` are the arguments.
BUILDERS: Mapping[str, Callable[..., Task]] = {
  "class_conditional": class_conditional,
  "color_mnist": color_mnist,
  "colorize": colorize,
  "colorize_rgb": colorize_rgb,
  "generate": generate,
  "inpaint": inpaint,
  "sketch": sketch,
  "super_resolution": super_resolution,
}
