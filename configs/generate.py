"""Pictures without a condition, or given a class: Glow, RealNVP, TARFlow, Jet.

python -m cinn_jax.main --config=configs/generate.py:glow
  A small Glow (Kingma and Dhariwal 2018) of 711,564 parameters, on 32x32
  patches of six photographs that the dependencies ship. It takes six minutes on
  two shared CPU cores.
  When ActNorm still started from one batch, validation bits/dim were 4.24 in
  8-bit levels (72 patches of the photographs' held-out regions). Samples were
  clouds of the photographs' colours, some with spots in which the inverse
  explodes.
  Departures: size and recipe are ours; scales have a floor. ActNorm starts from
  256 pictures, as in Glow's code.

python -m cinn_jax.main --config=configs/generate.py:realnvp
  A small RealNVP (Dinh et al. 2017) of 5,278,312 parameters, on the same
  pictures. A step takes 1.3 seconds on two shared CPU cores, so all 1,000 would
  take 22 minutes. It was not run to its end.
  Departures: size and recipe are ours.

python -m cinn_jax.main --config=configs/generate.py:digits
  Glow for scikit-learn's 8x8 digits, given their class: 244,228 parameters. It
  takes one minute on two shared CPU cores.
  Expect validation bits/dim of 3.11 in 8-bit levels (180 pictures).
  Departures: those of `:glow`.

python -m cinn_jax.main --config=configs/generate.py:tarflow
  A small TARFlow (Zhai et al. 2025), autoregressive over patches of 4x4 pixels:
  654,208 parameters, on the pictures of `:glow`. It was not run to its end.
  Departures: size and recipe are ours; those of `models.token_flow`.

python -m cinn_jax.main --config=configs/generate.py:jet
  A small Jet (Kolesnikov et al. 2024), couplings with transformers: 707,136
  parameters, on the same pictures. It was not run to its end.
  Departures: as for `:tarflow`.

python -m cinn_jax.main --config=configs/generate.py:tarflow64 \\
  --config.data.source=folder --config.data.path=FOLDER
python -m cinn_jax.main --config=configs/generate.py:jet64 \\
  --config.data.source=folder --config.data.path=FOLDER
  The networks published for ImageNet at 64x64: TARFlow with 460,155,072
  parameters (453,623,808 of them in transformer layers), Jet with 207,177,216.
  They need several GPUs. They were not run.
  Quoted test bits/dim: 2.99 (TARFlow), 3.72 (Jet); there are two versions of
  ImageNet at 64x64, which are not comparable.
  Departures: those of `models.token_flow`; TARFlow's scales are bounded by
  exp(3) per block; no weight decay (TARFlow has 1e-4, Jet 1e-5, both
  decoupled); an EMA; TARFlow's gradients are clipped at a norm of 1, as Jet's
  are.

--mode=sample draws a sheet of 64 pictures, or of some for each class. With
--denoise, those of `:digits` lose the noise that training added.
--mode=evaluate --num_draws=16 adds a tighter bound on bits/dim.
"""

from ml_collections import ConfigDict

from cinn_jax.experiment import pair_recipes, recipes, token_recipes


def get_config(variant: str = "glow"):
  """Returns the experiment of a variant, one of those named above."""
  variants = {
    "glow": _glow,
    "realnvp": _realnvp,
    "digits": _digits,
    "tarflow": lambda: _token_flow("tarflow"),
    "jet": lambda: _token_flow("jet"),
    "tarflow64": lambda: _published("tarflow"),
    "jet64": lambda: _published("jet"),
  }
  if variant not in variants:
    raise ValueError(
      f"configs/generate.py has no variant {variant!r}; there are"
      f" {', '.join(variants)}."
    )
  config = ConfigDict(
    {
      "data": dict(recipes.DATA),
      "augment": {"min_scale": 0.2, "flip": True},
      "task": {"name": "generate", "image_size": 32, "num_classes": 0},
      "optimizer": {
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "schedule_options": {"warmup_steps": 100},
        "clip_norm": 10.0,
      },
      "train": {
        **recipes.RUN,
        "num_steps": 1_000,
        "batch_size": 32,
        "seed": 0,
        "ema_decay": 0.99,
        "log_every": 50,
        "eval_every": 250,
        "sheet_every": 250,
      },
    }
  )
  config.update(variants[variant]())
  return config


def _glow():
  return {
    "model": {
      **recipes.MODEL,
      "name": "glow",
      "channels": 3,
      "levels": 3,
      "depth": 8,
      "hidden": 64,
      "coupling": "affine",
      "condition": "none",
      "learned_priors": True,
      # Published: infinite. A floor under the scales keeps most inverses from
      # exploding; early in training, some still do.
      "alpha": 1.0,
      "dequantization_depth": 0,
      "dequantization_hidden": 32,
    },
    "train": {"init_batch_size": pair_recipes.INIT_BATCH_SIZE},
  }


def _realnvp():
  return {
    "model": {
      # Its couplings are not stacked, so it has no memory policy.
      "compute_dtype": "float32",
      "name": "realnvp",
      "channels": 3,
      "levels": 2,
      "hidden": 32,
      "blocks": 2,
    }
  }


def _token_flow(name):
  sections = recipes.token_flow(name, 32)
  model = {**recipes.MODEL, **sections["model"], "conditioned": False}
  return {"model": model, "optimizer": sections["optimizer"]}


def _published(name):
  options = {
    "tarflow": {
      "learning_rate": 1e-4,
      "batch_size": 256,
      # Epochs of 1,281,149 pictures.
      "num_steps": 500_500,
      "warmup_steps": 5_005,
      "end_fraction": 0.01,
    },
    "jet": {
      "learning_rate": 3e-4,
      "batch_size": 1_024,
      "num_steps": 250_200,
      "warmup_steps": 25_020,
      "end_fraction": 0.0,
    },
  }[name]
  return {
    # Whole pictures.
    "augment": {"min_scale": 1.0, "flip": True},
    "model": {
      **recipes.MODEL,
      **token_recipes.published(name),
      "compute_dtype": "bfloat16",
    },
    "task": {"name": "generate", "image_size": 64, "num_classes": 0},
    "optimizer": {
      "learning_rate": options["learning_rate"],
      "schedule": "cosine",
      "schedule_options": {
        "warmup_steps": options["warmup_steps"],
        "end_fraction": options["end_fraction"],
      },
      "b2": 0.95,
      "clip_norm": 1.0,
    },
    "train": {
      "num_steps": options["num_steps"],
      "batch_size": options["batch_size"],
      "ema_decay": 0.9999,
      "log_every": 100,
      "eval_every": 5_000,
      "sheet_every": 5_000,
    },
  }


def _digits():
  return {
    "data": {"source": "digits"},
    # Whole pictures, not flipped: a mirrored digit is not a digit.
    "augment": {"min_scale": 1.0, "flip": False},
    "model": {
      **recipes.MODEL,
      "name": "glow",
      "channels": 1,
      "levels": 2,
      "depth": 8,
      "hidden": 64,
      "coupling": "affine",
      "condition": "couplings",
      "learned_priors": True,
      # Published: infinite. A floor under the scales keeps most inverses from
      # exploding; early in training, some still do.
      "alpha": 1.0,
      "dequantization_depth": 0,
      "dequantization_hidden": 32,
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
    "train": {
      "num_steps": 800,
      "batch_size": 128,
      "init_batch_size": pair_recipes.INIT_BATCH_SIZE,
    },
  }
