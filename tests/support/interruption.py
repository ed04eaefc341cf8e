"""Runs that fail at a chosen step."""

from cinn_jax.training.monitor import Monitor


def interrupt_after(monkeypatch, step):
  """Makes a run raise KeyboardInterrupt once it has reported `step`."""
  add = Monitor.add

  def interrupted(self, latest, metrics):
    add(self, latest, metrics)
    # The metrics of a step are read while the next one runs.
    if latest == step + 1:
      raise KeyboardInterrupt

  monkeypatch.setattr(Monitor, "add", interrupted)


def change_metrics(monkeypatch, by_step):
  """Replaces some of the metrics of some steps, {step: {name: value}}."""
  add = Monitor.add

  def changed(self, latest, metrics):
    add(self, latest, {**metrics, **by_step.get(latest, {})})

  monkeypatch.setattr(Monitor, "add", changed)
