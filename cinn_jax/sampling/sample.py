"""`--mode=sample`: which sampler a task has, and a folder per temperature."""

from cinn_jax.sampling.classes import sample_classes
from cinn_jax.sampling.photos import colorize_photos
from cinn_jax.sampling.pictures import sample_pictures

# By task: from classes, from photographs at full resolution, from pictures.
SAMPLERS = {
  "class_conditional": sample_classes,
  "color_mnist": sample_classes,
  "colorize": colorize_photos,
  "colorize_rgb": sample_pictures,
  "generate": sample_classes,
  "inpaint": sample_pictures,
  "sketch": sample_pictures,
  "super_resolution": sample_pictures,
}
