"""Handwritten digits given their class (Ardizzone et al. 2019).

python -m cinn_jax.main --config=configs/mnist.py:digits
  scikit-learn's digits of 8x8 pixels, which are installed already, and a
  network of 440,320 parameters. It takes half a minute on two shared CPU cores.
  Expect validation bits/dim of 0.554 (180 pictures; standardised, Gaussian
  noise 0.2). --mode=evaluate gives 0.541 on the 360 test pictures, 3.130 in
  steps of 17 grey levels; 98.5 % of the samples are classified as their class.
  Network and recipe are ours, not published.

python -m cinn_jax.main --config=configs/mnist.py --config.data.path=FOLDER
  The authors' minimal example on MNIST: 24,341,120 parameters. FOLDER has the
  four idx files, compressed or not (those of Fashion-MNIST are compressed);
  without FOLDER, TFDS's prepared `mnist` is read. It is for a GPU: on two CPU
  cores a step takes 0.3 seconds, and all 13,800 take an hour and a quarter. It
  was not run to its end.
  Expect validation bits/dim of -0.904 (1,024 pictures; standardised, Gaussian
  noise 0.08) after 11 and a half minutes on two CPU cores with
  --config.train.num_steps=2000. An earlier version, after 2,000 steps with
  --config.model.scanned=True, had -0.896 on the 10,000 test pictures, 5.385 in
  steps of 256 grey levels, and 80.8 % of the samples classified as their class.
  Blocks are compiled one by one: steps are a tenth faster than with `scanned`,
  and the first start takes 13 seconds longer.
  Departure: permutations are drawn with the parameters.

python -m cinn_jax.main --config=configs/mnist.py:small \\
  --config.data.path=FOLDER
  A network for a laptop, with fewer and narrower couplings: 4,265,184
  parameters, 9,200 steps, 18 minutes on one CPU core next to other work. Its
  weights come with the package: without a run, --mode=sample takes them, and so
  does cinn_jax.load("mnist"). Expect validation bits/dim of -1.029; -1.028 on
  the 10,000 test pictures, and 88.3 % of the samples classified as their class.
  Network and recipe are ours, not published.

python -m cinn_jax.main --config=configs/mnist.py:paper \\
  --config.data.path=FOLDER
  The network behind the paper's figures: 54,424,320 parameters, 168,597 steps
  of 512 pictures. It needs a GPU. It was not run.
  Departures: the first 1,024 training pictures validate, while the authors
  train on all 60,000; permutations are drawn with the parameters.

python -m cinn_jax.main --config=configs/mnist.py:cvae --config.data.path=FOLDER
  Models for comparison with flows: cvae (1,492,706 parameters), cgan
  (1,020,418) and regression (470,273); every sample of regression is the mean
  of its class. See cinn_jax/models/comparators. They were not run to their end;
  tests/benchmarks/claims.py compares them with flows. Networks and recipes are
  ours.

python -m cinn_jax.main --config=configs/mnist.py:fashion \\
  --config.data.path=FOLDER
  The minimal example on Fashion-MNIST, which has the same four files. It was
  not run.
"""

import functools

from ml_collections import ConfigDict

from cinn_jax.experiment import comparator_recipes, recipes

# The authors' steps per epoch. They drop an epoch's last, smaller batch.
_EPOCH, _PAPER_EPOCH = 230, 117


def get_config(variant: str = "minimal"):
  """Returns the experiment of a variant, one of those named above."""
  variants = {
    "minimal": _minimal,
    "paper": _paper,
    "small": _small,
    "digits": _digits,
    "fashion": _fashion,
    **{
      name: functools.partial(_comparator, name)
      for name in comparator_recipes.NAMES
    },
  }
  if variant not in variants:
    raise ValueError(
      f"configs/mnist.py has no variant {variant!r}; there are"
      f" {', '.join(variants)}."
    )
  config = ConfigDict(
    {
      "data": {**recipes.DATA, "source": "mnist", "tfds_name": "mnist"},
      # Whole pictures, not flipped: a mirrored digit is not a digit.
      "augment": {"min_scale": 1.0, "flip": False},
      "model": dict(recipes.MODEL),
      "train": dict(recipes.RUN),
    }
  )
  config.update(variants[variant]())
  return config


def _minimal():
  return {
    "model": {
      "name": "dense_cinn",
      "size": 28,
      "depth": 20,
      "hidden": (512,),
      "alpha": 1.0,
      "clamp": "cinn_code",
      "init_std": 0.01,
      "zero_last": False,
      "scanned": False,
    },
    "task": {
      "name": "class_conditional",
      "image_size": 28,
      "num_classes": 10,
      "mean": 0.128,
      "std": 0.305,
      "noise_scale": 0.08,
    },
    "optimizer": {
      "learning_rate": 5e-4,
      "schedule": "multistep",
      "schedule_options": {
        "boundaries": (20 * _EPOCH, 40 * _EPOCH),
        "factor": 0.1,
      },
      "weight_decay": 1e-5,
      "clip_norm": 10.0,
    },
    "train": {
      "num_steps": 60 * _EPOCH,
      "batch_size": 256,
      "seed": 0,
      # The published code does not average the parameters.
      "ema_decay": 0.0,
      "log_every": 50,
      "eval_every": 5 * _EPOCH,
      "sheet_every": 5 * _EPOCH,
    },
  }


def _paper():
  return {
    "model": {
      "name": "dense_cinn",
      "size": 28,
      "depth": 24,
      "hidden": (512, 512, 512),
      "alpha": 1.5,
      "clamp": "cinn_code",
      "init_std": 0.03,
      "zero_last": True,
      "scanned": False,
    },
    "task": {
      "name": "class_conditional",
      "image_size": 28,
      "num_classes": 10,
      "mean": 0.0,
      "std": 1.0,
      "noise_scale": 0.15,
    },
    "optimizer": {
      "learning_rate": 1e-4,
      "eps": 1e-6,
      "clip_norm": 0.0,
      "schedule": "step",
      "schedule_options": {
        "every": _PAPER_EPOCH,
        "factor": 0.01 ** (1 / 1440),
        # One epoch at 2e-6, then all of the schedule.
        "warmup_steps": _PAPER_EPOCH,
        "warmup_fractions": (0.02, 0.02),
      },
      "weight_decay": 1e-5,
    },
    "train": {
      "num_steps": 1441 * _PAPER_EPOCH,
      "batch_size": 512,
      "seed": 0,
      "ema_decay": 0.0,
      "log_every": 50,
      "eval_every": 60 * _PAPER_EPOCH,
      "sheet_every": 60 * _PAPER_EPOCH,
    },
  }


def _small():
  small = _minimal()
  small["model"] |= {"depth": 7, "hidden": (256,)}
  small["optimizer"] |= {
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "schedule_options": {"warmup_steps": 100},
  }
  small["train"] |= {"num_steps": 40 * _EPOCH, "ema_decay": 0.999}
  return small


def _digits():
  return {
    "data": {"source": "digits", "tfds_name": ""},
    "model": {
      "name": "dense_cinn",
      "size": 8,
      "depth": 16,
      "hidden": (128,),
      "alpha": 1.0,
      "clamp": "cinn_code",
      "init_std": None,
      "zero_last": True,
    },
    "task": {
      "name": "class_conditional",
      "image_size": 8,
      "num_classes": 10,
      "mean": 0.305,
      "std": 0.376,
      # Large, to prevent overfitting to 1,257 pictures.
      "noise_scale": 0.2,
      "levels": 17,
    },
    "optimizer": {
      "learning_rate": 1e-3,
      "schedule": "cosine",
      "schedule_options": {"warmup_steps": 100},
      "weight_decay": 1e-4,
      "clip_norm": 10.0,
    },
    "train": {
      "num_steps": 800,
      "batch_size": 128,
      "seed": 0,
      "ema_decay": 0.99,
      "log_every": 50,
      "eval_every": 200,
      "sheet_every": 200,
    },
  }


def _fashion():
  fashion = _minimal()
  fashion["data"] = {"tfds_name": "fashion_mnist"}
  return fashion


def _comparator(name):
  model = comparator_recipes.model(name, channels=1, widths=(32, 64, 96))
  sections = recipes.comparator(name, model, small=True)
  del sections["augment"]  # That of all digits.
  sections["train"] |= {"num_steps": 10 * _EPOCH, "batch_size": 128}
  return {**sections, "task": _minimal()["task"]}
