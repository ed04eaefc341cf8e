"""Colorization as in CAFLOW: all of RGB given the luma.

python -m cinn_jax.main --config=configs/colorize_rgb.py
  32x32, on patches of six photographs that the dependencies ship: a cINN of
  4,976,896 parameters and 1,200 steps, meant for about ten minutes on two free
  CPU cores. It was not run to its end.
  Expect validation bits/dim of 4.08 in 8-bit levels (72 patches of the
  photographs' held-out regions) with --config.train.num_steps=200.
  Network and recipe are ours, not published. configs/colorize.py models only
  the colours and keeps the lightness, so its bits/dim cannot be compared with
  these.

python -m cinn_jax.main --config=configs/colorize_rgb.py:caflow
  The same by a small CAFLOW of 5,788,416 parameters. Expect 3.44 bits/dim after
  26 minutes on one shared CPU core. Its size and recipe are ours.

python -m cinn_jax.main --config=configs/colorize_rgb.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus, dual_glow, or a token flow:
  tarflow or jet, see configs/generate.py. Settings:
    size=32           size of the pictures; HxW if they are not square
    condition_net=trained|frozen|none
  caflow, dual_glow_plus and dual_glow see the luma as three equal channels with
  noise, as published; the others see it as one channel.

python -m cinn_jax.main --config=configs/colorize_rgb.py:caflow,size=64
  The published network: 35,229,968 parameters. dual_glow_plus has 14,500,400.
  It needs a GPU. It was not run to its end.
  The recipe is that of CAFLOW's code, with the departure that
  configs/super_resolution.py names. The luma is Pillow's mode "L", as there.
  At 32x32 in batches of 32, both networks diverged within ten steps: the
  published logit moves saturated pixels too far out. They train with
  --config.model.logit_alpha=0.05; configs/README.md tells more about the cause.
  LSUN bedrooms and FFHQ: cinn_jax/data/PUBLISHED.md.

Ablations: those of configs/super_resolution.py.
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = ""):
  """Returns the experiment; `argument` is, say, "cinn,size=64"."""
  return recipes.picture_config("configs/colorize_rgb.py", argument, task=_task)


def _task(settings, models_condition):
  return {
    "name": "colorize_rgb",
    "condition_channels": 3 if models_condition else 1,
    "condition_noise": "uniform" if models_condition else "half",
  }
