"""Settings of a run in which experiments do not differ.

Every config has them in its section `train`, so `--config.train.NAME` changes
them for a run.
"""

RUN = {
  # Minutes without a step after which a run ends, to be started again.
  "watchdog_minutes": 30.0,
  # Parameters and optimizer spread over the devices, for what is too large for
  # one.
  "fully_sharded": False,
}
