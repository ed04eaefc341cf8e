"""Watches a run: progress bar, averages for the log, divergence."""

import contextlib
import math
import time

import jax
import numpy as np
from tqdm import tqdm

from cinn_jax.runtime import processes
from cinn_jax.runtime.flops import peak_flops


class Diverged(RuntimeError):
  """A loss or gradient of the run is not finite.

  Attributes:
    step: the first such one, of a training run.
  """

  def __init__(self, message, step=None):
    super().__init__(message)
    self.step = step


class Monitor:
  """Reads the metrics of step n-1 while step n runs, and reports them."""

  def __init__(self, log, *, start, num_steps, batch_size, log_every):
    self._log, self._log_every = log, log_every
    self._flops, self._peak = 0, None
    self._batch_size = batch_size
    self._pending = None
    self._gathered = []
    self._bar = tqdm(
      total=num_steps,
      initial=start,
      unit="step",
      dynamic_ncols=True,
      disable=not processes.is_first(),
    )
    self._reset_clock()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._bar.close()

  def cost(self, flops: int):
    """FLOPs of a step: from here on the log has their rate.

    And the utilisation, their share of what all devices could do in bfloat16,
    where that is known.
    """
    [kind] = {device.device_kind for device in jax.devices()}
    self._flops, self._peak = flops, peak_flops(kind)

  def waiting(self, batches):
    """The next batch; the time it takes counts as waiting for data."""
    begin = time.perf_counter()
    batch = next(batches)
    self._waited += time.perf_counter() - begin
    return batch

  def dispatched(self, step: int, metrics):
    """Takes the metrics of a step just started; reports those before it.

    Raises:
      Diverged: where the metrics before are not finite.
    """
    previous, self._pending = self._pending, (step, metrics)
    if previous is not None:
      self._read(*previous)

  @contextlib.contextmanager
  def paused(self):
    """Reports what still runs; what happens inside is not the steps' time."""
    if self._pending is not None:
      self._read(*self._pending)
      self._pending = None
    self._report()
    yield
    self._reset_clock()

  def say(self, text: str):
    """Prints a line above the bar."""
    self._bar.write(text)

  def _read(self, step, metrics):
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    wrong = [name for name, v in values.items() if not math.isfinite(v)]
    if wrong:
      raise Diverged(
        f"Step {step:,}: {', '.join(wrong)} is not finite. What was saved"
        " stays; start anew, in another --workdir, with a lower"
        " --config.optimizer.learning_rate, a --config.optimizer.clip_norm that"
        " is smaller (0 is none), or tighter clamps.",
        step,
      )
    self._step = step
    self._gathered.append(values)
    self._bar.update(1)
    if step % self._log_every == 0:
      self._report()

  def _report(self):
    if not self._gathered:
      return
    elapsed = time.perf_counter() - self._began
    steps = len(self._gathered)
    means = {
      name: float(np.mean([values[name] for values in self._gathered]))
      for name in self._gathered[0]
    }
    means["max_log_scale"] = max(v["max_log_scale"] for v in self._gathered)
    means["images_per_second"] = steps * self._batch_size / elapsed
    means["data_wait"] = self._waited / elapsed
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
    self._gathered = []
    self._reset_clock()

  def _reset_clock(self):
    self._began = time.perf_counter()
    self._waited = 0.0
