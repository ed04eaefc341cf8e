"""Values per image of a batch's samples and of what they are compared with."""

import jax
import jax.numpy as jnp
import numpy as np

from cinn_jax.evaluation.metrics import lpips
from cinn_jax.evaluation.metrics import restoration as m
from cinn_jax.images import color

# The rows of a table of samples.
ONE, LIKELIEST, BEST = "one sample", "likeliest of n", "best of n by error"
MEAN, AVERAGE = "mean of n samples", "average picture of n"
NO_MODEL, REGRESSION, OTHER = "no model", "regression", "another real picture"
REFERENCES = (NO_MODEL, REGRESSION, OTHER)
# Of the intervals whose coverage is looked at.
LEVELS = (0.5, 0.8, 0.9)
_NET = "condition_net"
_SSIM_SIDE, _LPIPS_SIDE = 11, max(lpips.SMALLEST.values())


class Judge:
  """Judges the samples of one trained model, by whatever is installed."""

  def __init__(self, trained):
    task = trained.task
    self._side = int(np.min(task.image_size))
    self._perceptual = self._by_vgg16 = None
    self._reference = self._consistency = None
    if lpips.is_installed() and self._side >= _LPIPS_SIDE:
      self._perceptual = jax.jit(
        _perceptual(lpips.make_lpips()), static_argnums=2
      )
      self._by_vgg16 = jax.jit(_distances(lpips.make_lpips("vgg16")))

    def cond_of(batch):
      return task.prepare(batch)[1]

    if task.reference is not None:
      self._reference = jax.jit(
        lambda batch: color.to_uint8(task.reference(cond_of(batch)))
      )
    if task.consistency is not None:
      several = jax.vmap(task.consistency, (1, None), 1)
      self._consistency = jax.jit(
        lambda batch, pictures: several(pictures / 255, cond_of(batch))
      )
    self._regression = None
    net = getattr(trained.flow.module, "condition_net", None)
    if hasattr(net, "predict"):
      own = {k: v[_NET] for k, v in trained.variables.items() if _NET in v}

      def regression(batch):
        cond = cond_of(batch)
        x = net.apply(own, cond, method="predict")
        return color.to_uint8(task.render(x, cond))

      self._regression = jax.jit(regression)

  def reference(self, batch):
    """The answer that takes no model, uint8 [B, H, W, 3], or None."""
    return self._reference and np.asarray(self._reference(batch))

  def rows(self, batch, samples, log_prob):
    """`{row: {metric: [B]}}` of samples uint8 [B, n, H, W, 3], log_prob [B, n].

    `batch` has the records, the truth as "image".
    """
    truth, n = batch["image"], samples.shape[1]
    alone = {AVERAGE: np.round(samples.mean(axis=1)).astype(np.uint8)}
    if self._reference:
      alone[NO_MODEL] = self.reference(batch)
    if self._regression:
      alone[REGRESSION] = np.asarray(self._regression(batch))
    columns = [samples, *(picture[:, None] for picture in alone.values())]
    pictures = np.concatenate(columns, axis=1)
    values = _errors(truth, pictures, with_ssim=self._side >= _SSIM_SIDE)
    spread = _spread(truth, samples)
    if self._perceptual:
      values["lpips"], maps, pairs = self._perceptual(truth, pictures, n)
      values["lpips_vgg16"] = self._by_vgg16(truth, pictures)
      if n > 1:
        spread["pairwise_lpips"] = np.asarray(pairs)
        spread["ntire_diversity"] = m.ntire_diversity(maps)
    if self._consistency:
      values["consistency"] = m.bounded(self._consistency(batch, pictures))
    values = {name: np.asarray(value) for name, value in values.items()}
    drawn = {name: value[:, :n] for name, value in values.items()}
    first = np.zeros(len(truth), int)
    rows = {
      ONE: _chosen(drawn, first),
      MEAN: {k: value.mean(axis=1) for k, value in drawn.items()} | spread,
      LIKELIEST: _chosen(drawn, np.argmax(log_prob, axis=1)),
      BEST: _chosen(drawn, np.argmin(drawn["rmse"], axis=1)),
    }
    for k, name in enumerate(alone, start=n):
      rows[name] = _chosen(values, first + k)
    return rows

  def pair(self, truth, pictures, batch_size: int = 64):
    """`{metric: [N]}` of uint8 [N, H, W, 3], one picture for each truth."""
    parts = []
    for k in range(0, len(truth), batch_size):
      part = truth[k : k + batch_size], pictures[k : k + batch_size, None]
      values = _errors(*part, self._side >= _SSIM_SIDE)
      if self._perceptual:
        values["lpips"] = self._perceptual(*part, 1)[0]
        values["lpips_vgg16"] = self._by_vgg16(*part)
      parts.append(values)
    return {
      name: np.concatenate([part[name] for part in parts])[:, 0]
      for name in parts[0]
    }

  def lines(self, num_samples):
    """What is missing from the table, and how to get it."""
    lines = []
    if not lpips.is_installed():
      lines.append(f"LPIPS needs its weights: {lpips.HOW_TO_GET}.")
    elif not self._perceptual:
      lines.append(f"LPIPS takes pictures of at least {_LPIPS_SIDE} pixels.")
    if missing := [q for q in LEVELS if num_samples < m.samples_for(q)]:
      needed = ", ".join(f"{m.samples_for(q)} for {q:.0%}" for q in missing)
      lines.append(f"Coverage takes more samples: {needed} (--num_samples).")
    lines.append(
      f"'{REGRESSION}' is what the condition network guesses by itself."
      if self._regression
      else "This model's condition network guesses no picture by itself."
    )
    return lines


def coverage_name(level):
  """The metric's name, such as coverage_50."""
  return f"coverage_{round(100 * level)}"


def _chosen(values, index):
  return {k: value[np.arange(len(index)), index] for k, value in values.items()}


def _errors(truth, pictures, with_ssim):
  """`{metric: [B, m]}` of pictures [B, m, H, W, 3]."""
  measured = {"psnr": m.psnr, "rmse": m.rmse}
  if with_ssim:
    measured["ssim"] = m.ssim
  columns = np.moveaxis(pictures, 1, 0)
  return {
    name: np.stack([metric(truth, column) for column in columns], axis=1)
    for name, metric in measured.items()
  }


def _spread(truth, samples):
  n = samples.shape[1]
  values = {
    coverage_name(level): m.coverage(truth, samples, level)
    for level in LEVELS
    if n >= m.samples_for(level)
  }
  if n > 1:
    values["pixel_std"] = m.pixel_std(samples)
  return values


def _distances(metric):
  """`run(truth [B, ...], pictures [B, m, ...]) -> [B, m]`, by LPIPS."""

  def run(truth, pictures):
    real = metric.embed(truth)
    # One after the other: the features of all would fill the memory.
    columns = jax.lax.map(
      lambda shown: metric.distance(real, metric.embed(shown)),
      jnp.moveaxis(pictures, 1, 0),
    )
    return columns.T

  return run


def _perceptual(metric):
  """`run(truth [B, ...], pictures [B, m, ...], n)`, by LPIPS.

  Returns distances to the truth [B, m]; of the first n their maps
  [B, n, H, W], and the mean distance between two of them [B].
  """

  def run(truth, pictures, n):
    real = metric.embed(truth)
    shown = jax.vmap(metric.embed, 1, 1)(pictures)
    drawn = jax.tree.map(lambda leaf: leaf[:, :n], shown)

    def against(function, features):
      return jax.vmap(lambda one: function(real, one), 1, 1)(features)

    size = truth.shape[1:3]
    return (
      against(metric.distance, shown),
      against(lambda a, b: metric.distance_map(a, b, size), drawn),
      metric.diversity(drawn) if n > 1 else None,
    )

  return run
