"""Sketches to photographs: a picture given its edges.

python -m cinn_jax.main --config=configs/sketch.py
  32x32, given edges of patches of six photographs that the dependencies ship: a
  cINN of 4,976,896 parameters and 1,200 steps, meant for about ten minutes on
  two free CPU cores. It was not run to its end.
  Expect validation bits/dim of 4.23 in 8-bit levels (72 patches of the
  photographs' held-out regions) with --config.train.num_steps=200.
  Network and recipe are ours, not published.

python -m cinn_jax.main --config=configs/sketch.py:caflow
  The same by a small CAFLOW of 5,788,416 parameters. Expect 4.07 bits/dim after
  24 minutes on one shared CPU core. Its size and recipe are ours.

python -m cinn_jax.main --config=configs/sketch.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus, dual_glow, or a token flow:
  tarflow or jet, see configs/generate.py. Settings:
    size=32           size of the pictures; HxW if they are not square
    condition_net=trained|frozen|none

python -m cinn_jax.main --config=configs/sketch.py:caflow,size=64 \\
  --config.data.source=paired --config.data.path=edges2shoes \\
  --config.data.train_split=train --config.data.validation_split=val \\
  --config.data.resize="(64, 64)"
  The published network on edges2shoes, whose files hold sketch and photograph
  side by side; each half is resized to 64x64. 35,229,968 parameters;
  dual_glow_plus has 14,500,400. It needs a GPU. It was not run to its end.
  The recipe is that of CAFLOW's code, with the departure that
  configs/super_resolution.py names.

Ablations: those of configs/super_resolution.py.
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = ""):
  """Returns the experiment; `argument` is, say, "cinn,size=64"."""
  return recipes.picture_config("configs/sketch.py", argument, task=_task)


def _task(settings, models_condition):
  return {
    "name": "sketch",
    "condition_channels": 3 if models_condition else 1,
    "condition_noise": "uniform" if models_condition else "half",
  }
