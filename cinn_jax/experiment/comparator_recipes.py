"""Recipes of the models that flows are compared with; networks are ours."""

from typing import Any

Section = dict[str, Any]

# By the name in a config's argument: the name of the model.
NAMES = {
  "regression": "regression",
  "cvae": "conditional_vae",
  "cgan": "conditional_gan",
}


def model(
  name: str, *, channels: int, widths: tuple[int, ...], **network: Any
) -> Section:
  """Returns the section `model` of a comparator.

  Args:
    name: One of `NAMES`.
    channels: Number of channels of x.
    widths: Number of channels of the decoder at each resolution, finest first.
    network: Further settings that all of them have, such as
      `condition_levels`.
  """
  shared = {
    "name": NAMES[name],
    "channels": channels,
    "widths": widths,
    "blocks": 1,
    "condition_levels": (),
    "condition_vector": 0,
    "condition_pool": 2,
    "resized": False,
    "mean": 0.0,
    "std": 1.0,
    **network,
  }
  resolutions = len(widths)
  if name == "regression":
    return {**shared, "error": "l2"}
  if name == "cvae":
    # Maps of a code do not know of each other, so only the vector is safe for
    # shapes; of photographs they keep what is local.
    has_maps = bool(shared["condition_levels"])
    coarsest = (4,) if has_maps else (0,)
    return {
      **shared,
      "encoder_widths": tuple(3 * width // 4 for width in widths),
      "code_channels": (0,) * (resolutions - 1) + coarsest,
      "code": 64,
      "beta": 1.0,
    }
  return {
    **shared,
    "code_channels": (1,) + (2,) * (resolutions - 1),
    "code": 64,
    "discriminator_widths": (64, 128, 256),
    "adversarial": "hinge",
    "adversarial_weight": 1.0,
    "l1_weight": 0.0,
    "r1_weight": 1.0,
  }


def picture_model(name: str) -> Section:
  """Returns the section `model` of a comparator of RGB pictures."""
  return model(
    name,
    channels=3,
    widths=(32, 64, 96, 128),
    condition_levels=(
      ((32, 2), (32, 1)),
      ((64, 2), (64, 1)),
      ((128, 2), (128, 1)),
    ),
    resized=True,
    mean=0.5,
    std=0.25,
  )


def rrdb_model(name: str, *, small: bool) -> Section:
  """Returns the section `model` of "rrdb" or "esrgan"."""
  network = {
    "blocks": 4 if small else 23,
    "width": 48 if small else 64,
    "growth": 24 if small else 32,
  }
  if name == "rrdb":
    return {"name": "rrdb_regression", "error": "l1", **network}
  return {
    "name": "esrgan",
    **network,
    "noise": 0,
    "discriminator_widths": (64, 128, 256) if small else (64, 128, 256, 512),
    "adversarial": "relativistic",
    "adversarial_weight": 5e-3,
    "l1_weight": 2.5e-3,
    "r1_weight": 1.0,
  }


def adversarial_optimizer(learning_rate: float = 2e-4) -> Section:
  """Returns the section `optimizer` of a GAN: Adam for each of two networks.

  The group has the discriminator's rate, `learning_rate` the generator's.
  """
  return {
    "learning_rate": learning_rate,
    "schedule": "constant",
    "b1": 0.0,
    "b2": 0.99,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "groups": {"discriminator": {"learning_rate": learning_rate}},
  }
