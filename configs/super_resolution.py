"""Super-resolution: a picture given a smaller one of it.

python -m cinn_jax.main --config=configs/super_resolution.py
  From 8x8 to 32x32 on patches of six photographs that the dependencies ship:
  a cINN of 4,977,472 parameters, 1,200 steps, made for about ten minutes on two
  free CPU cores. Not yet run to its end here:
  --config.train.num_steps=200 came to 4.17 validation bits/dim in 8-bit levels
  (72 patches of the photographs' held-out regions).

python -m cinn_jax.main --config=configs/super_resolution.py:caflow
  The same by a CAFLOW of 5,788,416 parameters: 4.06 bits/dim after 27 minutes
  on one CPU core that did other work too, 0.74 seconds a step at best. With
  dual_glow_plus in its place 4.07, 0.53 seconds a step at best; with srflow,
  whose samples break in places at temperature 1, 4.26 after 18 minutes.

python -m cinn_jax.main --config=configs/super_resolution.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, caflow, dual_glow_plus or dual_glow. Settings:
    size=32           of the large pictures; HxW where they are not square
    scale=4           how many times smaller the given ones are: 2, 4 or 8
    condition_net=trained|frozen|none
  cinn and srflow see the small picture at its own size; caflow and its like,
  which model their condition too, see it enlarged by the bicubic filter and
  rounded to 8 bits, as published.

python -m cinn_jax.main --config=configs/super_resolution.py:srflow,size=64
  The published network for 4 times: 39,246,599 parameters with its encoder,
  which learns to guess the large picture first; with scale=8 that of faces,
  39,724,287. Rates, steps and batch are published, for crops of 160x160 with
  noise eight times as wide. For a GPU; not yet run to its end here.

python -m cinn_jax.main --config=configs/super_resolution.py:caflow,size=64
  The published network: 35,229,968 parameters, 16x16 to 64x64; dual_glow_plus
  has 14,500,400. For a GPU; not yet run to its end here. Adam's rate, its
  warm-up and the batch of 8 are those of CAFLOW's code, and so is the fall of
  the rate at 70,000 and 140,000 steps. Which of these stand behind the
  published tables is not known. Small pictures are made by Pillow's bicubic
  filter, as there. FFHQ and the other sets: cinn_jax/data/PUBLISHED.md.

Ablations:
  --config.task.condition_noise=half|uniform  no noise on the condition, or some
  --config.model.init_std=0.03                start of cinn's subnets
  --config.model.mixing=permutation|orthogonal|full|lu|cayley
  --config.model.injector=False               of cinn
  --config.model.shared=True                  of caflow, with
    --config.model.latent_depths="(16, 12)" as published
  --config.model.condition_weight=0.01        lambda, of caflow and its like
  --config.pretrain.unconditional_steps=10000 caflow's two flows first, each by
    itself; then they stay as they are, see cinn_jax/training/phases.py
  condition_net=frozen|none                   as a setting, see above
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = ""):
  """Builds the experiment; `argument` is such as "cinn,size=64,scale=8"."""
  return recipes.picture_config(
    "configs/super_resolution.py",
    argument,
    task=_task,
    settings={"scale": (4, 8, 2)},
  )


def _task(settings, models_condition):
  return {
    "name": "super_resolution",
    "scale": settings["scale"],
    "condition_size": "target" if models_condition else "native",
    "condition_noise": "uniform" if models_condition else "half",
  }
