"""Monitoring of a run: progress bar, averages for the log, divergence."""

import collections
import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

import jax
import numpy as np
from tqdm import tqdm

from cinn_jax.bijections.base import Array
from cinn_jax.runtime import processes
from cinn_jax.runtime.flops import peak_flops
from cinn_jax.workdir.state import MOST_SKIPPED

T = TypeVar("T")
# A gradient this many times the median makes Adam's steps a third as long, if
# b2 is 0.999: its square enters the second moments with a weight of 0.001.
_BURST = 100


class ScalarLog(Protocol):
  """The part of `workdir.log.Log` that a monitor writes to."""

  def scalars(self, step: int, split: str, values: dict[str, float]) -> None:
    """Logs the numbers of a step."""


class Diverged(RuntimeError):
  """Losses or gradients that are not finite.

  Attributes:
    step: The last step with one, or None outside of a training run.
    result: From `fit`: its best result so far, or None.
  """

  def __init__(self, message: str, step: int | None = None, result: Any = None):
    super().__init__(message)
    self.step = step
    self.result = result


class Monitor:
  """Reads the metrics of step n-1 while step n runs, and reports them.

  Args:
    log: Receives the averages.
    start: Number of steps taken so far.
    num_steps: Length of the run.
    batch_size: Pictures per step.
    log_every: Steps between two averages.
    clip_norm: Largest norm of a gradient; 0 does not clip.
  """

  def __init__(
    self,
    log: ScalarLog,
    *,
    start: int,
    num_steps: int,
    batch_size: int,
    log_every: int,
    clip_norm: float,
  ):
    self._log, self._log_every = log, log_every
    self._clips = clip_norm > 0
    self._norms: collections.deque[float] = collections.deque(maxlen=100)
    self._flops: int | None = None
    self._peak: float | None = None
    self._batch_size = batch_size
    self._pending: tuple[int, Mapping[str, Array]] | None = None
    self._recent: list[dict[str, float]] = []
    self._skipped = 0
    self._bar = tqdm(
      total=num_steps,
      initial=start,
      unit="step",
      dynamic_ncols=True,
      disable=not processes.is_first(),
    )
    self._reset_clock()

  def __enter__(self) -> "Monitor":
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.close()

  def set_step_flops(self, flops: int | None) -> None:
    """Sets the FLOPs of a step; later lines of the log then have their rate.

    They also have the utilisation, the share of the devices' peak in bfloat16,
    if all are of one kind, whose peak is known. Unknown FLOPs (None) leave both
    out of the log.
    """
    kinds = {device.device_kind for device in jax.devices()}
    self._flops = flops
    self._peak = peak_flops(kinds.pop()) if len(kinds) == 1 else None

  def next_batch(self, batches: Iterator[T]) -> T:
    """Returns the next batch; its time counts as waiting for data."""
    begin = time.perf_counter()
    batch = next(batches)
    self._wait += time.perf_counter() - begin
    return batch

  def add(self, step: int, metrics: Mapping[str, Array]) -> None:
    """Takes the metrics of a step that has just started, and reads the last.

    Raises:
      Diverged: if the step before it is the last of `MOST_SKIPPED` in a row
        that were not finite.
    """
    previous, self._pending = self._pending, (step, metrics)
    if previous is not None:
      self._read(*previous)

  @contextlib.contextmanager
  def pause(self) -> Iterator[None]:
    """Reports all steps so far and stops the clock until the context ends.

    Raises:
      Diverged: as for `add`, of the last step.
    """
    if self._pending is not None:
      self._read(*self._pending)
      self._pending = None
    self._report()
    yield
    self._reset_clock()

  def write(self, text: str) -> None:
    """Prints a line above the bar."""
    self._bar.write(text)

  def _read(self, step: int, metrics: Mapping[str, Any]) -> None:
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    in_a_row = int(values.pop("skipped"))
    self._step = step
    self._bar.update(1)
    if in_a_row:
      self._skip(step, values, in_a_row)
    else:
      self._recent.append(values)
    if step % self._log_every == 0:
      self._report()

  def _skip(self, step, values, in_a_row):
    bad = [name for name, v in values.items() if not math.isfinite(v)]
    text = f"Step {step:,}: {', '.join(bad)} is not finite"
    if in_a_row >= MOST_SKIPPED:
      raise Diverged(
        f"{text}, for the {in_a_row}th time in a row. The checkpoints are"
        " kept; start again in another --workdir with a lower"
        " --config.optimizer.learning_rate, a smaller"
        " --config.optimizer.clip_norm (0 does not clip), or tighter clamps.",
        step,
      )
    self._skipped += 1
    self.write(
      f"{text}: skipped. {MOST_SKIPPED} such steps in a row end the run, this"
      f" is {in_a_row}."
    )

  def _report(self):
    if not self._recent:
      return
    elapsed = time.perf_counter() - self._start
    steps = len(self._recent) + self._skipped
    means = {
      name: float(np.mean([values[name] for values in self._recent]))
      for name in self._recent[0]
    }
    if "max_log_scale" in means:
      means["max_log_scale"] = max(v["max_log_scale"] for v in self._recent)
    means["skipped_steps"] = self._skipped
    means["images_per_second"] = steps * self._batch_size / elapsed
    means["data_wait"] = self._wait / elapsed
    if self._flops:
      rate = steps * self._flops / elapsed
      means["flops_per_second"] = rate
      if self._peak:
        means["utilisation"] = rate / (self._peak * jax.device_count())
    self._log.scalars(self._step, "train", means)
    if not self._clips:
      self._warn_of_bursts()
    has_bits = "bits_per_dim" in means
    name, unit = ("bits_per_dim", "bits/dim") if has_bits else ("loss", "loss")
    self._bar.set_postfix_str(
      f"{means[name]:.3f} {unit}, {means['images_per_second']:.0f} images/s"
    )
    self._recent, self._skipped = [], 0
    self._reset_clock()

  def _warn_of_bursts(self):
    norms = [v["grad_norm"] for v in self._recent if "grad_norm" in v]
    self._norms.extend(norms)
    median = float(np.median(self._norms)) if norms else 0.0
    if median and max(norms) > _BURST * median:
      self.write(
        f"Up to step {self._step:,}: the largest gradient has a norm of"
        f" {max(norms):.2g}, the median is {median:.2g}. Adam remembers it, and"
        " learns slowly for a long time. To prevent that, start again in"
        " another --workdir with"
        f" --config.optimizer.clip_norm={float(f'{2 * median:.1g}'):g}."
      )

  def _reset_clock(self):
    self._start = time.perf_counter()
    self._wait = 0.0
