"""Inpainting: a picture given the part around a hole.

python -m cinn_jax.main --config=configs/inpaint.py
  32x32 with a square hole, on patches of six photographs that the dependencies
  ship: a cINN of 4,977,760 parameters and 1,200 steps, meant for about ten
  minutes on two free CPU cores. It was not run to its end.
  With --config.train.num_steps=200 an earlier version, whose networks started
  louder, gave validation bits/dim of 4.14 in 8-bit levels (72 patches of the
  photographs' held-out regions).
  Network and recipe are ours, not published.

python -m cinn_jax.main --config=configs/inpaint.py:caflow,recipe=small
  The same with a small CAFLOW of 5,788,416 parameters. An earlier version gave
  3.57 bits/dim after 24 minutes on one shared CPU core. Its size and recipe are
  ours.

python -m cinn_jax.main --config=configs/inpaint.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus, dual_glow; a token flow,
  tarflow or jet, see configs/generate.py; or a model for comparison with flows,
  see configs/super_resolution.py. Settings:
    size=32           size of the pictures; HxW if they are not square
    mask=square       0.15 of the area, in the middle, as published; or half,
                      the right half; or free_form, brush strokes
    condition_net=trained|frozen|none
    recipe=full|small full is published if MODEL is, else ours; small is ours
  A mask channel tells the model where the hole is. caflow, dual_glow_plus and
  dual_glow do without it, as published, unless holes are free-form.

python -m cinn_jax.main --config=configs/inpaint.py:caflow,size=64
  The published network: 35,229,968 parameters. dual_glow_plus has 14,500,400.
  It needs a GPU. It was not run to its end.
  The recipe is that of CAFLOW's code, with the departures that
  configs/super_resolution.py names. CelebA is cropped to its central 98x128 and
  resized to 64x64, and the hole of 24x24 is black: cinn_jax/data/PUBLISHED.md.

python -m cinn_jax.main --config=configs/inpaint.py:caflow,size=64 \\
  --mode=sample --temperature=0.5 --num_samples=30 --keep=10
  Samples as in CAFLOW's figures: the likeliest 10 of 30, at temperature 0.5
  (quoted). --mode=evaluate takes several temperatures at once,
  --temperature=0.5,0.8,1.

Ablations: those of configs/super_resolution.py, and
  --config.task.mask_channel=False   no mask channel: a hole looks like black
  --config.task.compose=False        known pixels are shown as the model draws
                                     them, not as they were given
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = recipes.LAPTOP):
  """Returns the experiment; `argument` is, say, "cinn,mask=free_form"."""
  return recipes.picture_config(
    "configs/inpaint.py",
    argument,
    task=_task,
    settings={"mask": ("square", "half", "free_form")},
  )


def _task(settings, models_condition):
  return {
    "name": "inpaint",
    "mask": settings["mask"],
    "area": 0.15,
    # CAFLOW's code has no mask channel; free-form holes need one.
    "mask_channel": not models_condition or settings["mask"] == "free_form",
    "compose": True,
    "condition_noise": "uniform" if models_condition else "half",
  }
