"""Colorization as CAFLOW has it: all of RGB given the luma.

python -m cinn_jax.main --config=configs/colorize_rgb.py
  32x32, on patches of six photographs that the dependencies ship: a cINN of
  4,976,896 parameters, 1,200 steps, made for about ten minutes on two free CPU
  cores. Not yet run to its end here:
  --config.train.num_steps=200 came to 4.08 validation bits/dim in 8-bit levels
  (72 patches of the photographs' held-out regions). configs/colorize.py makes
  the colours alone and keeps the lightness: its bits/dim are of other numbers.

python -m cinn_jax.main --config=configs/colorize_rgb.py:caflow
  The same by a CAFLOW of 5,788,416 parameters: 3.44 bits/dim after 26 minutes
  on one CPU core that did other work too.

python -m cinn_jax.main --config=configs/colorize_rgb.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus or dual_glow. Settings:
    size=32           of the pictures; HxW where they are not square
    condition_net=trained|frozen|none
  cinn and srflow see the luma as one channel; caflow and its like as three
  equal ones, with noise of their own, as published.

python -m cinn_jax.main --config=configs/colorize_rgb.py:caflow,size=64
  The published network: 35,229,968 parameters; dual_glow_plus has 14,500,400.
  For a GPU; not yet run to its end here. Its training is that of CAFLOW's code,
  see configs/super_resolution.py. The luma is Pillow's mode "L", as there. At
  32x32, in batches of 32, both diverged within ten steps: saturated pixels are
  too far out once the published logit has been taken of them. With
  --config.model.logit_alpha=0.05 they train.
  LSUN bedrooms and FFHQ: cinn_jax/data/PUBLISHED.md.

Ablations: those of configs/super_resolution.py.
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = ""):
  """Builds the experiment; `argument` is such as "cinn,size=64"."""
  return recipes.picture_config("configs/colorize_rgb.py", argument, task=_task)


def _task(settings, models_condition):
  return {
    "name": "colorize_rgb",
    "condition_channels": 3 if models_condition else 1,
    "condition_noise": "uniform" if models_condition else "half",
  }
