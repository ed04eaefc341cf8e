"""Sketches to photographs: a picture given its edges.

python -m cinn_jax.main --config=configs/sketch.py
  32x32, given edges of patches of six photographs that the dependencies ship: a
  cINN of 4,976,896 parameters and 1,200 steps, meant for about ten minutes on
  two free CPU cores. It was not run to its end.
  With --config.train.num_steps=200 an earlier version, whose networks started
  louder, gave validation bits/dim of 4.23 in 8-bit levels (72 patches of the
  photographs' held-out regions).
  Network and recipe are ours, not published.

python -m cinn_jax.main --config=configs/sketch.py:caflow,recipe=small
  The same with a small CAFLOW of 4,478,896 parameters. Size and recipe are
  ours. An earlier version, whose condition had three channels, gave 4.07
  bits/dim after 24 minutes on one shared CPU core.

python -m cinn_jax.main --config=configs/sketch.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus, dual_glow; a token flow,
  tarflow or jet, see configs/generate.py; or a model for comparison with flows,
  see configs/super_resolution.py. Settings:
    size=32           size of the pictures; HxW if they are not square
    condition_net=trained|frozen|none
    recipe=full|small full is published if MODEL is, else ours; small is ours

python -m cinn_jax.main --config=configs/sketch.py:caflow,size=64 \\
  --config.data.source=paired --config.data.path=edges2shoes \\
  --config.data.train_split=train --config.data.validation_split=val \\
  --config.data.resize="(64, 64)"
  The network published for edges2shoes, whose files hold sketch and photograph
  side by side; each half is resized to 64x64. It has 27,397,040 parameters;
  dual_glow_plus has 10,943,696. It needs a GPU. It was not run to its end.
  Network and recipe are those of CAFLOW's code, with the departures of
  configs/colorize_rgb.py: the sketch, too, is one channel and not three equal
  ones. --config.task.condition_channels=3 is the published condition.

python -m cinn_jax.main --config=configs/sketch.py:caflow,size=64 \\
  --mode=sample --temperature=0.8 --num_samples=6
  Samples as in CAFLOW's figures: 6 at temperature 0.8, none left out (quoted).
  --mode=evaluate takes several temperatures at once, --temperature=0.5,0.8,1.

Ablations: those of configs/super_resolution.py.
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = recipes.LAPTOP):
  """Returns the experiment; `argument` is, say, "cinn,size=64"."""
  return recipes.picture_config("configs/sketch.py", argument, task=_task)


def _task(settings, models_condition):
  return {
    "name": "sketch",
    "condition_channels": 1,
    "condition_noise": "uniform" if models_condition else "half",
  }
