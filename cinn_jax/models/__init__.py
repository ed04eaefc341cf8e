"""Published models, one file each, and the networks inside them.

A model is a bijection, with `forward` and `inverse`. It may also have methods
that others look for by `hasattr`:

- `unconditional(x, cond)` runs the flows of a model of several flows without
  their dependence on each other, and returns latents and log_det as `forward`
  does. `training.step` calls it while `pretrain.unconditional_steps` last.
- `reconstruction_errors(x, cond)` returns a dict of [B] by part of the model,
  in the units of x; its entry "round_trip" is that of the whole model.
  `evaluation.bits` reports them in place of a plain round trip.
- `log_prob_by_level(x, cond)` returns a dict of [B] by level, the shares of
  ln p(x | cond), which `evaluation.bits` reports.
- `predict(cond)`, a method of the model's `condition_net`, returns the
  network's own guess of x. `training.encoder_pretraining` trains it, and
  `evaluation.by_task` compares samples with it.

Models to compare flows with are in `comparators`.
"""

from collections.abc import Callable

from cinn_jax.bijections import Bijection
from cinn_jax.models import (
  color_mnist,
  conditional_glow,
  dense_cinn,
  glow,
  haar_colorization,
  hcflow,
  image_cinn,
  imagenet_colorization,
  realnvp,
  srflow,
  token_flow,
  wavelet_flow,
)
from cinn_jax.models.conditional_flow import ConditionalFlow
from cinn_jax.models.pairs import caflow, dual_glow

__all__ = ["BUILDERS", "ConditionalFlow"]

# Builders by the name that a config has in `model.name`; the other entries of
# its section `model` are their arguments.
BUILDERS: dict[str, Callable[..., Bijection]] = {
  "caflow": caflow.caflow,
  "color_mnist": color_mnist.color_mnist,
  "conditional_glow": conditional_glow.conditional_glow,
  "dense_cinn": dense_cinn.dense_cinn,
  "dual_glow": dual_glow.dual_glow,
  "dual_glow_plus": dual_glow.dual_glow_plus,
  "glow": glow.glow,
  "haar_colorization": haar_colorization.haar_colorization,
  "hcflow": hcflow.hcflow,
  "image_cinn": image_cinn.image_cinn,
  "imagenet_colorization": imagenet_colorization.imagenet_colorization,
  "realnvp": realnvp.realnvp,
  "srflow": srflow.srflow,
  "token_flow": token_flow.token_flow,
  "wavelet_flow": wavelet_flow.wavelet_flow,
}
