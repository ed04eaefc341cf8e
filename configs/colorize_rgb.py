"""Colorization as in CAFLOW: all of RGB given the luma.

python -m cinn_jax.main --config=configs/colorize_rgb.py
  32x32, on patches of six photographs that the dependencies ship: a cINN of
  4,976,896 parameters and 1,200 steps, meant for about ten minutes on two free
  CPU cores. It was not run to its end.
  With --config.train.num_steps=200 an earlier version, whose networks started
  louder, gave validation bits/dim of 4.08 in 8-bit levels (72 patches of the
  photographs' held-out regions).
  Network and recipe are ours, not published. configs/colorize.py models only
  the colours and keeps the lightness, so its bits/dim cannot be compared with
  these.

python -m cinn_jax.main --config=configs/colorize_rgb.py:caflow,recipe=small
  The same with a small CAFLOW of 4,478,896 parameters. Size and recipe are
  ours.
  An earlier version, whose condition had three channels, gave 3.44 bits/dim
  after 26 minutes on one shared CPU core.

python -m cinn_jax.main --config=configs/colorize_rgb.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus, dual_glow; a token flow,
  tarflow or jet, see configs/generate.py; or a model for comparison with flows,
  see configs/super_resolution.py. Settings:
    size=32           size of the pictures; HxW if they are not square
    condition_net=trained|frozen|none
    recipe=full|small full is published if MODEL is, else ours; small is ours
  All see the luma as one channel. caflow, dual_glow_plus and dual_glow add
  noise to it, since they model it too.

python -m cinn_jax.main --config=configs/colorize_rgb.py:caflow,size=64
  The published network except for the condition's channels: 27,397,040
  parameters. dual_glow_plus has 10,943,696. It needs a GPU. It was not run to
  its end.
  Network and recipe are those of CAFLOW's code, with the departures that
  configs/super_resolution.py names, and one more. The published condition is
  the luma in three equal channels. Two of their three dimensions hold nothing
  but noise, which the logit enlarges near black and white; at 32x32, the flow
  of the condition diverged within ten steps on some pictures. One channel loses
  nothing. --config.task.condition_channels=3 is the published condition, with
  35,229,968 and 14,500,400 parameters. The luma is Pillow's mode "L", as in
  that code.
  LSUN bedrooms and FFHQ: cinn_jax/data/PUBLISHED.md.

python -m cinn_jax.main --config=configs/colorize_rgb.py:caflow,size=64 \\
  --mode=sample --temperature=0.85 --num_samples=25 --keep=10
  Samples as in CAFLOW's figures: the likeliest 10 of 25, at temperature 0.85
  for LSUN bedrooms and 0.7 for FFHQ (quoted). --mode=evaluate takes several
  temperatures at once, --temperature=0.5,0.8,1.

Ablations: those of configs/super_resolution.py.
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = recipes.LAPTOP):
  """Returns the experiment; `argument` is, say, "cinn,size=64"."""
  return recipes.picture_config("configs/colorize_rgb.py", argument, task=_task)


def _task(settings, models_condition):
  return {
    "name": "colorize_rgb",
    "condition_channels": 1,
    "condition_noise": "uniform" if models_condition else "half",
  }
