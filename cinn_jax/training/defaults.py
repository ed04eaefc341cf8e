"""Settings of a run in which experiments do not differ.

Every config has RUN in its section `train` and, but for RealNVP's, MODEL in
`model`, so `--config.train.NAME` and `--config.model.NAME` change them for a
run.
"""

MODEL = {
  # What a step keeps for its gradients: store, remat or reversible; see
  # `bijections.Stack`. A run may go on with another.
  "memory": "store",
  # What networks inside the flow compute in: float32 or bfloat16.
  "compute_dtype": "float32",
}

RUN = {
  # Minutes without a step after which a run ends, to be started again.
  "watchdog_minutes": 30.0,
  # Parameters and optimizer spread over the devices, for what is too large for
  # one.
  "fully_sharded": False,
}
