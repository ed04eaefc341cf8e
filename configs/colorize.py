"""Colorization: the colours of a photograph given its lightness.

python -m cinn_jax.main --config=configs/colorize.py
  The laptop network: 2,671,592 parameters, ab at 32x32, on patches of six
  photographs that the dependencies ship. It takes twelve to sixteen minutes on
  two CPU cores, including the installation.
  Expect validation bits/dim of -0.77 (72 patches of the photographs' held-out
  regions; ab of normalised Lab, Gaussian noise 0.05).
  Network and recipe are ours, not published.

python -m cinn_jax.main --config=configs/colorize.py:lsun \\
  --config.data.source=folder --config.data.path=FOLDER
  The network published for LSUN bedrooms: 11,010,760 parameters, ab at 64x64.
  FOLDER holds photographs. It needs a GPU: a step of 16 pictures takes 2
  seconds of one CPU core. It was not run to its end.
  Expect validation bits/dim of -0.75 after 300 steps of 32 pictures, and still
  falling (ab of normalised Lab at 64x64, uniform noise 0.005). This was
  measured with an earlier version, on 6,539 photographs, with `haar_order`
  wavelet, `flatten_order` position and `condition_slope` 0. In the published
  network, which is now in this config, they are channel, channel and 0.01.
  Departures: an average of the parameters (EMA), which the authors do not keep;
  the rate falls every 23,680 steps, while their epoch has 23,679.

python -m cinn_jax.main --config=configs/colorize.py:imagenet \\
  --config.data.source=folder --config.data.path=FOLDER
  The network published for ImageNet: 88,949,693 parameters with its condition
  network, L at 256x256, ab at 64x64. It needs several GPUs. It was not run.
  Departures: an EMA; GroupNorm in the condition network
  (--config.model.norm=batch gives their batch norm, which their checkpoints
  need); ab is downsampled with anti-aliasing, while theirs takes the nearest
  pixels; an epoch of the schedule, which follows the mean loss, has 256 steps;
  the condition network starts from random weights, theirs from pretrained ones.

python -m cinn_jax.main --config=configs/colorize.py:tarflow
python -m cinn_jax.main --config=configs/colorize.py:jet
  Token flows for the laptop network's task: TARFlow with 818,112 parameters and
  Jet with 897,600. A small transformer gives them L; see configs/generate.py.
  They were not run to their end. TARFlow had validation bits/dim of -0.610
  after 333 steps of 16 pictures, on 5,299 photographs; see configs/README.md.

python -m cinn_jax.main --config=configs/colorize.py:pyramid
  A wavelet flow: an autoregressive base of 8x8 cells, and details for 16 and 32
  cells, given L at 128x128 and frozen features of EfficientNet-lite0. Network
  and recipe are ours. --config.model.level=8, 16 or 32 trains one level alone.
  It was not run to its end.

python -m cinn_jax.main --config=configs/colorize.py:photographs
  The same up to 128 cells, with hints in the condition. `training.budget`
  trains one level on cached features.

python -m cinn_jax.main --config=configs/colorize.py:regression
python -m cinn_jax.main --config=configs/colorize.py:cvae
python -m cinn_jax.main --config=configs/colorize.py:cgan
  Models other than flows, with the laptop network's task and condition network:
  a regression by L2 (1,993,938 parameters), a conditional VAE (3,179,416) and a
  conditional GAN (2,679,619, with its discriminator); see
  cinn_jax/models/comparators. Networks and recipes are ours. They were not run
  to their end; tests/benchmarks/claims.py compares them with flows.
    --config.model.error=l1           regression to the median
    --config.model.beta=0.5           weight of the VAE's divergence
    --config.model.l1_weight=1        adds L1 to the GAN, as pix2pix does
  Regression and GAN have no likelihood. The VAE has a bound, which
  --mode=evaluate --num_draws=64 tightens.
"""

import functools

from ml_collections import ConfigDict

from cinn_jax.experiment import comparator_recipes, pyramid_recipes, recipes


def get_config(variant: str = "laptop"):
  """Returns the experiment of a variant, one of those named above."""
  variants = {
    "laptop": _laptop,
    "lsun": _lsun,
    "imagenet": _imagenet,
    "tarflow": lambda: _token_flow("tarflow"),
    "jet": lambda: _token_flow("jet"),
    "pyramid": pyramid_recipes.pyramid,
    "photographs": pyramid_recipes.photographs,
    **{
      name: functools.partial(_comparator, name)
      for name in comparator_recipes.NAMES
    },
  }
  if variant not in variants:
    raise ValueError(
      f"configs/colorize.py has no variant {variant!r}; there are"
      f" {', '.join(variants)}."
    )
  config = ConfigDict(
    {
      "data": dict(recipes.DATA),
      "augment": {"min_scale": 0.2, "flip": True},
      "model": dict(recipes.MODEL),
      "train": dict(recipes.RUN),
    }
  )
  config.update(variants[variant]())
  return config


def _laptop():
  return {
    "model": {
      "name": "haar_colorization",
      "size": 32,
      "hidden": (32, 48, 64, 256),
      "depths": (2, 4, 4, 4),
      "alphas": (1.0, 1.0, 1.0, 1.0),
      "condition_levels": (
        ((32, 2), (32, 1)),
        ((64, 2), (64, 1)),
        ((128, 2), (128, 1)),
      ),
      "condition_vector": 256,
      "condition_pool": 2,
      "condition_slope": 0.0,
      "haar_order": "wavelet",
      "flatten_order": "position",
      "clamp": "cinn_paper",
      "mixing": "orthogonal",
      "init_std": None,
      "zero_last": True,
      # "efficientnet_lite0" adds frozen features of L; priors are Gaussians.
      "features": "",
      "learned_priors": False,
    },
    "task": {
      "name": "colorize",
      "image_size": 64,
      "ab_size": 32,
      "noise": "gaussian",
      "noise_scale": 0.05,
    },
    "optimizer": {
      "learning_rate": 1e-3,
      "schedule": "cosine",
      "schedule_options": {"warmup_steps": 100},
      "weight_decay": 1e-5,
      "clip_norm": 10.0,
    },
    "train": {
      "num_steps": 2_000,
      "batch_size": 32,
      "seed": 0,
      "ema_decay": 0.995,
      "log_every": 50,
      "eval_every": 500,
      "sheet_every": 500,
    },
  }


def _token_flow(name):
  laptop = _laptop()
  # ab and L are normalised already.
  sections = recipes.token_flow(name, 32, mean=0.0, std=1.0)
  sections["train"]["num_steps"] = laptop["train"]["num_steps"]
  return {**sections, "task": laptop["task"]}


def _comparator(name):
  laptop = _laptop()
  names = ("condition_levels", "condition_vector", "condition_pool")
  model = comparator_recipes.model(
    name,
    channels=2,
    widths=(48, 96, 160),
    **{name: laptop["model"][name] for name in names},
  )
  sections = recipes.comparator(name, model, small=True)
  del sections["augment"]  # All variants share theirs.
  sections["train"]["num_steps"] = laptop["train"]["num_steps"]
  return {**sections, "task": laptop["task"]}


def _lsun():
  return {
    # Whole pictures, as published.
    "augment": {"min_scale": 1.0, "flip": False},
    "model": {
      "name": "haar_colorization",
      "haar_order": "channel",
      "flatten_order": "channel",
      "condition_slope": 0.01,
    },
    "task": {
      "name": "colorize",
      "image_size": 64,
      "ab_size": 64,
      "noise": "uniform",
      "noise_scale": 0.005,
    },
    "optimizer": {
      "learning_rate": 1e-3,
      "schedule": "step",
      "schedule_options": {"every": 23_680, "factor": 0.1},
      "clip_norm": 0.0,
    },
    "train": {
      "num_steps": 71_040,
      "batch_size": 128,
      "seed": 0,
      "ema_decay": 0.999,
      "log_every": 10,
      "eval_every": 1_000,
      "sheet_every": 1_000,
    },
  }


def _imagenet():
  return {
    "model": {"name": "imagenet_colorization", "norm": "group"},
    "task": {
      "name": "colorize",
      "image_size": 256,
      "ab_size": 64,
      "noise": "gaussian",
      "noise_scale": 0.05,
    },
    "optimizer": {
      "learning_rate": 1e-4,
      "eps": 1e-6,
      "weight_decay": 1e-5,
      "clip_norm": 0.0,
      # frozen_steps: Number of steps in which the features stay fixed; -1 for
      # all.
      "groups": {
        "condition_net/feature_net": {
          "learning_rate": 1e-4,
          "eps": 1e-4,
          "weight_decay": 0.0,
          "frozen_steps": 0,
        },
        # Colorization never uses the network's own classifier: no gradient
        # reaches it, and weight decay would erase it.
        "condition_net/classifier": {"weight_decay": 0.0},
      },
      "plateau": {
        "factor": 0.2,
        "patience": 8,
        "rtol": 1e-3,
        "cooldown": 2,
        "accumulation_size": 256,
      },
    },
    "train": {
      "num_steps": 122_880,
      "batch_size": 48,
      "seed": 0,
      "ema_decay": 0.999,
      "log_every": 50,
      "eval_every": 2_560,
      "sheet_every": 2_560,
    },
  }
