"""Inpainting: a picture given what is left around a hole.

python -m cinn_jax.main --config=configs/inpaint.py
  32x32 with a square hole, on patches of six photographs that the dependencies
  ship: a cINN of 4,977,760 parameters, 1,200 steps, made for about ten minutes
  on two free CPU cores. Not yet run to its end here:
  --config.train.num_steps=200 came to 4.14 validation bits/dim in 8-bit levels
  (72 patches of the photographs' held-out regions).

python -m cinn_jax.main --config=configs/inpaint.py:caflow
  The same by a CAFLOW of 5,788,416 parameters: 3.57 bits/dim after 24 minutes
  on one CPU core that did other work too.

python -m cinn_jax.main --config=configs/inpaint.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus or dual_glow. Settings:
    size=32           of the pictures; HxW where they are not square
    mask=square       in the middle, 0.15 of the area, as published; half, the
                      right one; free_form, brush strokes
    condition_net=trained|frozen|none
  The model sees where the hole is, as one more channel; caflow and its like do
  without, as published, unless holes are free-form.

python -m cinn_jax.main --config=configs/inpaint.py:caflow,size=64
  The published network: 35,229,968 parameters; dual_glow_plus has 14,500,400.
  For a GPU; not yet run to its end here. Its training is that of CAFLOW's code,
  see configs/super_resolution.py. CelebA is cut to its middle of 98x128 and
  squeezed to 64x64; the hole of 24x24 is black: cinn_jax/data/PUBLISHED.md.

Ablations: those of configs/super_resolution.py, and
  --config.task.mask_channel=False   the hole is not told from black
  --config.task.compose=False        known pixels are shown as the model makes
                                     them, not as they were given
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = ""):
  """Builds the experiment; `argument` is "cinn,size=64,mask=free_form", say."""
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
