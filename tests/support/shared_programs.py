"""Programs of samplers, shared by all the tests of a process.

Every call of `sample` opens its run and traces its programs anew, which takes
longer than tiny networks need to draw. Programs of equal flows are equal.
"""

import contextlib
import functools
from collections.abc import Iterator

import pytest

from cinn_jax.sampling import classes, photos, pictures
from cinn_jax.workdir import trained

_MAKERS = (
  (classes, "make_draw"),
  (photos, "make_draw"),
  (photos, "make_draw_to_hints"),
  (pictures, "make_draw"),
  (trained, "abstract_variables"),
)
_made = {}


@contextlib.contextmanager
def shared() -> Iterator[None]:
  """Makes each program once for all flows of the same description."""
  with pytest.MonkeyPatch.context() as patch:
    for owner, name in _MAKERS:
      patch.setattr(owner, name, _once_per_flow(getattr(owner, name)))
    yield


def _once_per_flow(make):
  @functools.wraps(make)
  def made(flow, *rest):
    shapes = flow.event_shape, flow.cond_shape
    key = make.__qualname__, repr((flow.module, *shapes, flow.base))
    if key not in _made:
      _made[key] = make(flow, *rest)
    return _made[key]

  return made
