"""Monitoring of a run: progress bar, averages for the log, divergence."""

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

T = TypeVar("T")


class ScalarLog(Protocol):
  """The part of `workdir.log.Log` that a monitor writes to."""

  def scalars(self, step: int, split: str, values: dict[str, float]) -> None:
    """Logs the numbers of a step."""


class Diverged(RuntimeError):
  """A loss or gradient that is not finite.

  Attributes:
    step: The first step with one, or None outside of a training run.
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
  """

  def __init__(
    self,
    log: ScalarLog,
    *,
    start: int,
    num_steps: int,
    batch_size: int,
    log_every: int,
  ):
    self._log, self._log_every = log, log_every
    self._flops: int | None = None
    self._peak: float | None = None
    self._batch_size = batch_size
    self._pending: tuple[int, Mapping[str, Array]] | None = None
    self._recent: list[dict[str, float]] = []
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
    if that peak is known. Unknown FLOPs (None) leave both out of the log.
    """
    [kind] = {device.device_kind for device in jax.devices()}
    self._flops, self._peak = flops, peak_flops(kind)

  def next_batch(self, batches: Iterator[T]) -> T:
    """Returns the next batch; its time counts as waiting for data."""
    begin = time.perf_counter()
    batch = next(batches)
    self._wait += time.perf_counter() - begin
    return batch

  def add(self, step: int, metrics: Mapping[str, Array]) -> None:
    """Takes the metrics of a step that has just started, and reads the last.

    Raises:
      Diverged: if the metrics of the step before it are not finite.
    """
    previous, self._pending = self._pending, (step, metrics)
    if previous is not None:
      self._read(*previous)

  @contextlib.contextmanager
  def pause(self) -> Iterator[None]:
    """Reports all steps so far and stops the clock until the context ends.

    Raises:
      Diverged: if the metrics of the last step are not finite.
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
    bad = [name for name, v in values.items() if not math.isfinite(v)]
    if bad:
      raise Diverged(
        f"Step {step:,}: {', '.join(bad)} is not finite. The checkpoints are"
        " kept; start again in another --workdir with a lower"
        " --config.optimizer.learning_rate, a smaller"
        " --config.optimizer.clip_norm (0 does not clip), or tighter clamps.",
        step,
      )
    self._step = step
    self._recent.append(values)
    self._bar.update(1)
    if step % self._log_every == 0:
      self._report()

  def _report(self):
    if not self._recent:
      return
    elapsed = time.perf_counter() - self._start
    steps = len(self._recent)
    means = {
      name: float(np.mean([values[name] for values in self._recent]))
      for name in self._recent[0]
    }
    means["max_log_scale"] = max(v["max_log_scale"] for v in self._recent)
    means["images_per_second"] = steps * self._batch_size / elapsed
    means["data_wait"] = self._wait / elapsed
    if self._flops:
      rate = steps * self._flops / elapsed
      means["flops_per_second"] = rate
      if self._peak:
        means["utilisation"] = rate / (self._peak * jax.device_count())
    self._log.scalars(self._step, "train", means)
    self._bar.set_postfix_str(
      f"{means['bits_per_dim']:.3f} bits/dim,"
      f" {means['images_per_second']:.0f} images/s"
    )
    self._recent = []
    self._reset_clock()

  def _reset_clock(self):
    self._start = time.perf_counter()
    self._wait = 0.0
