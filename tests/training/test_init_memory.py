"""Initial values of many pictures take no more memory than a training step."""

import jax
import numpy as np
import pytest

from cinn_jax.training import setup, start
from configs import super_resolution


@pytest.mark.slow
def test_start_from_256_pictures_takes_at_most_two_steps_memory():
  config = super_resolution.get_config("dual_glow_plus,recipe=small")
  config.model.update({"levels": 1, "depth": 6, "latent_depth": 3})
  config.train.update({"batch_size": 8, "init_batch_size": 256})
  run = setup.set_up(config, *[None] * 4)

  def pictures(count):
    shape = (count, *run.task.event_shape)
    return {"image": jax.ShapeDtypeStruct(shape, np.uint8)}

  programs = (
    start.jit_init(run).lower(pictures(256)),
    run.train_step.lower(run.abstract, pictures(8)),
  )
  first, step = (
    program.compile().memory_analysis().temp_size_in_bytes
    for program in programs
  )
  assert 0 < first <= 2 * step
