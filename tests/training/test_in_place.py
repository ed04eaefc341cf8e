"""The compiled step overwrites the old state with the new one."""

import re

import jax
import numpy as np
import pytest

from cinn_jax.training import setup
from tests.support import tiny


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_no_parameter_or_moment_is_copied(ema_decay):
  run = setup.set_up(tiny.digits(ema_decay=ema_decay), *[None] * 4)
  batch = {
    "image": jax.ShapeDtypeStruct((64, 8, 8, 3), np.uint8),
    "label": jax.ShapeDtypeStruct((64,), np.int32),
  }
  compiled = run.train_step.lower(run.abstract, batch).compile()
  _, entry = compiled.as_text().split("\nENTRY")
  leaves = jax.tree.leaves(run.abstract.fit.params)
  kernels = [leaf for leaf in leaves if leaf.ndim > 2]
  assert len(kernels) == 6
  # Copies of broadcasts are the initial zeros of a loop's results.
  copies = re.findall(r"= (f32\[[\d,]+\])\S* copy\(%(?!\w*broadcast)", entry)
  types = {f"f32[{','.join(map(str, leaf.shape))}]" for leaf in kernels}
  assert not types & set(copies)
