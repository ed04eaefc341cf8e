"""Sketches to photographs: a picture given its edges.

python -m cinn_jax.main --config=configs/sketch.py
  32x32, of edges drawn from patches of six photographs that the dependencies
  ship: a cINN of 4,976,896 parameters, 1,200 steps, made for about ten minutes
  on two free CPU cores. Not yet run to its end here:
  --config.train.num_steps=200 came to 4.23 validation bits/dim in 8-bit levels
  (72 patches of the photographs' held-out regions).

python -m cinn_jax.main --config=configs/sketch.py:caflow
  The same by a CAFLOW of 5,788,416 parameters: 4.07 bits/dim after 24 minutes
  on one CPU core that did other work too.

python -m cinn_jax.main --config=configs/sketch.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus or dual_glow. Settings:
    size=32           of the pictures; HxW where they are not square
    condition_net=trained|frozen|none

python -m cinn_jax.main --config=configs/sketch.py:caflow,size=64 \\
  --config.data.source=paired --config.data.path=edges2shoes \\
  --config.data.train_split=train --config.data.validation_split=val \\
  --config.data.resize="(64, 64)"
  The published network on edges2shoes, whose files hold sketch and photograph
  side by side; each half is brought to 64x64. 35,229,968 parameters;
  dual_glow_plus has 14,500,400. For a GPU; not yet run to its end here. Its
  training is that of CAFLOW's code, see configs/super_resolution.py.

Ablations: those of configs/super_resolution.py.
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = ""):
  """Builds the experiment; `argument` is such as "cinn,size=64"."""
  return recipes.picture_config("configs/sketch.py", argument, task=_task)


def _task(settings, models_condition):
  return {
    "name": "sketch",
    "condition_channels": 3 if models_condition else 1,
    "condition_noise": "uniform" if models_condition else "half",
  }
