"""The compiled step writes a new state where the old one was."""

import re

import jax
import numpy as np
import pytest

from cinn_jax.training import setup as runs
from tests.support import tiny


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_no_parameter_or_moment_is_copied(ema_decay):
  run = runs.set_up(tiny.digits(ema_decay=ema_decay), *[None] * 4)
  batch = {
    "image": jax.ShapeDtypeStruct((64, 8, 8, 3), np.uint8),
    "label": jax.ShapeDtypeStruct((64,), np.int32),
  }
  compiled = runs.compile_step(run).lower(run.abstract, batch).compile()
  _, entry = compiled.as_text().split("\nENTRY")
  kernels = [x for x in jax.tree.leaves(run.abstract.params) if x.ndim > 2]
  assert len(kernels) == 6
  # Of a type, what is copied. A loop's results start as copies of zeros.
  copied = re.findall(r"= (f32\[[\d,]+\])\S* copy\(%(?!\w*broadcast)", entry)
  types = {f"f32[{','.join(map(str, x.shape))}]" for x in kernels}
  found = [name for name in copied if name in types]
  assert not found
