"""Super-resolution: a picture given a smaller version of it.

python -m cinn_jax.main --config=configs/super_resolution.py
  From 8x8 to 32x32, on patches of six photographs that the dependencies ship: a
  cINN of 4,977,472 parameters and 1,200 steps, meant for about ten minutes on
  two free CPU cores. It was not run to its end.
  With --config.train.num_steps=200 an earlier version, whose networks started
  louder, gave validation bits/dim of 4.17 in 8-bit levels (72 patches of the
  photographs' held-out regions).
  Network and recipe are ours, not published.

python -m cinn_jax.main --config=configs/super_resolution.py:caflow,recipe=small
  The same with a small CAFLOW of 5,788,416 parameters. An earlier version gave
  4.06 bits/dim after 27 minutes on one shared CPU core; dual_glow_plus gave
  4.07, and srflow 4.26 after 18 minutes. srflow's samples broke up in places at
  temperature 1. hcflow, with 1,790,594 parameters, had 5.188 after 26 minutes
  on two cores that did other work too. Sizes and recipes are ours.

python -m cinn_jax.main --config=configs/super_resolution.py:MODEL,NAME=VALUE
  MODEL is cinn, srflow, hcflow, caflow, dual_glow_plus, dual_glow or pyramid; a
  token flow, tarflow or jet, see configs/generate.py; or a model to compare
  flows with, regression, cvae, cgan, rrdb or esrgan, see below. Settings:
    size=32           size of the large pictures; HxW if they are not square
    scale=4           ratio of the sides, large to small: 2, 4 or 8
    condition_net=trained|frozen|none
    recipe=full|small full is published if MODEL is, else ours; small is ours
  caflow, dual_glow_plus and dual_glow, which model their condition too, see the
  small picture enlarged by the bicubic filter and rounded to 8 bits, as
  published. The others see it at its own size.

python -m cinn_jax.main --config=configs/super_resolution.py:srflow,size=64
  The network published for scale 4: 39,246,599 parameters with its encoder,
  which first learns to predict the large picture. scale=8 is the network for
  faces, with 39,724,287. It needs a GPU. It was not run to its end.
  Rates, steps and batch are the published ones, for crops of 160x160.
  Departures: noise in training (the authors add none); the encoder's rate is
  ours.

python -m cinn_jax.main --config=configs/super_resolution.py:hcflow,size=64
  HCFlow, whose coarsest latent is the small picture itself: 23,224,997
  parameters for scale 4, 27,005,689 for scale=8. It needs a GPU. It was not run
  to its end. Rates, steps, batch and clipping are the published ones, for crops
  of 160x160. Departures: those of `models.hcflow`; ActNorm starts from 256
  pictures; the published noise for scale 4 is four levels wide, ours one; the
  variants with L1, perceptual and adversarial losses are not here.
  Published samples take the small picture as it is, and the details at 0.9
  (0.8 for faces): --temperature=0.9:0.9:0 (0.8:0.8:0.8:0).

python -m cinn_jax.main --config=configs/super_resolution.py:caflow,size=64
  The published network: 35,229,968 parameters, 16x16 to 64x64. dual_glow_plus
  has 14,500,400. It needs a GPU. It was not run to its end.
  Adam's rate and warm-up, the batch of 8, and the drops of the rate at 70,000
  and 140,000 steps are those of CAFLOW's code. It is not known which of these
  gave the published tables. Small pictures are made by Pillow's bicubic filter,
  as in that code. CAFLOW's loss is also divided by the number of dimensions of
  the condition, so its eps of 1e-8 is 1.2e-4 here. Departures: ActNorm starts
  from 256 pictures, not from one batch of 8; those of `models.pairs.caflow`.
  FFHQ and the other sets: cinn_jax/data/PUBLISHED.md.

python -m cinn_jax.main --config=configs/super_resolution.py:caflow,size=64 \\
  --mode=sample --temperature=0.5 --num_samples=20 --keep=10
  Samples as in CAFLOW's figures: the likeliest 10 of 20, at temperature 0.5 or
  0.55 (quoted). --mode=evaluate takes several temperatures at once,
  --temperature=0.5,0.8,1.

python -m cinn_jax.main \\
  --config=configs/super_resolution.py:pyramid,recipe=small
  A wavelet flow: the small picture determines its base, except for what filter
  and noise leave open, and each doubling is a flow of its own, given all
  coarser levels. Its density is that of the same x as for other models. Network
  and recipe are ours. It was not run to its end: with
  --config.train.num_steps=200
  --config.optimizer.schedule_options.warmup_steps=20 an earlier version, with
  --config.model.alpha=2.0 --config.model.far=0.0, had validation bits/dim of
  4.154 in 8-bit levels.

python -m cinn_jax.main --config=configs/super_resolution.py:esrgan,size=64
  Models other than flows, see cinn_jax/models/comparators. rrdb is the network
  of ESRGAN, trained with L1 alone (16,697,987 parameters), and esrgan continues
  from it against a discriminator. With recipe=small, they have 1,704,915, and
  2,369,172 with a discriminator. esrgan's samples are all equal, as published;
  --config.model.noise=4 adds noise. regression (1,249,507 parameters), cvae
  (2,213,766) and cgan (1,940,036) are ours: one U-Net on cinn's condition
  network. All picture configs have them.
    --config.model.error=l1|l2        for regression and rrdb
    --config.model.beta=0.5           for cvae
    --config.model.l1_weight=1        for cgan, which has no L1 otherwise
  They were not run to their end; tests/benchmarks/claims.py compares them with
  flows. regression, rrdb, cgan and esrgan have no likelihood. cvae has a bound,
  which --mode=evaluate --num_draws=64 tightens.
  Departures: those of the builders; rates and lengths are ours.

Ablations:
  --config.task.condition_noise=uniform|half  noise on the condition, or none
  --config.model.init_std=0.03                start of cinn's subnets
  --config.model.mixing=permutation|orthogonal|full|lu|cayley
  --config.model.injector=False               cinn without injectors
  --config.model.shared=True                  caflow with one block per coarser
    scale for all finer scales; with
    --config.model.latent_depths="(16, 12)", as published
  --config.model.condition_weight=0.01        lambda of caflow and its relatives
  --config.model.condition_logit_alpha=0.05   the condition's logit alone
  --config.train.init_batch_size=8            ActNorm from one batch, as CAFLOW
  --config.pretrain.unconditional_steps=10000 caflow's two flows first train
    separately, then stay fixed: cinn_jax/training/phases.py
  condition_net=frozen|none                   a setting, see above
"""

from cinn_jax.experiment import recipes


def get_config(argument: str = recipes.LAPTOP):
  """Returns the experiment; `argument` is, say, "cinn,size=64,scale=8"."""
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
