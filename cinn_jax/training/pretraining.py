"""What is trained before a flow: its condition network, on its own."""

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from tqdm import tqdm

from cinn_jax.data import loader
from cinn_jax.evaluation.by_task.classifier import fit_logits, make_classify
from cinn_jax.models.color_mnist import ClassifierFeatures
from cinn_jax.models.networks.rrdb import RRDBEncoder
from cinn_jax.models.pairs.paired_flow import PairedFlow
from cinn_jax.training.encoder_pretraining import pretrained_encoder

_READ = 256


def pretrained(
  state,
  config,
  flow,
  task,
  train_source,
  validation_source,
  shardings,
  alive=lambda: None,
):
  """A new run's state, its condition network trained as `config.pretrain` says.

  An `RRDBEncoder` learns to guess the picture, see `pretrained_encoder`, if
  there is such a section. `ClassifierFeatures` become a classifier, by SGD on
  the condition (not on x) of the training pictures; that is among the state's
  constants, so a resumed run has it from its checkpoint. A state of another
  model is returned as it is; models of two flows are pretrained in the run's
  own steps, see `phases`.

  The same seed gives the same classifier.

  Args:
    state: at step 0.
    config: of the run. For a classifier, its `pretrain` has `epochs`,
      `batch_size`, `learning_rate` and `momentum`; with 0 epochs the classifier
      stays as it starts, at random.
    flow, task: of the run.
    train_source, validation_source: pictures, for a classifier with labels.
    shardings: where the state's arrays live, of its structure.
    alive: called now and then, where it takes long.

  Raises:
    ValueError: where `pretrain` and the model do not belong together, or the
      pictures have no labels.
  """
  if isinstance(flow.module, PairedFlow):
    return state
  net = getattr(flow.module, "condition_net", None)
  if isinstance(net, RRDBEncoder):
    if "pretrain" not in config:
      return state
    return pretrained_encoder(
      state, config, flow, task, train_source, shardings, alive
    )
  if isinstance(net, ClassifierFeatures) != ("pretrain" in config):
    raise ValueError(
      "config.pretrain belongs to models whose condition network is a"
      f" classifier; {config.model.name} "
      + ("is no such model." if "pretrain" in config else "needs it.")
    )
  if "pretrain" not in config or not config.pretrain.epochs:
    return state
  own = state.constants["constants"]["condition_net"]
  places = shardings.constants["constants"]["condition_net"]
  params = _trained(
    net.classifier(),
    # A copy, on this process's own device: training donates it.
    multihost_utils.process_allgather(own["classifier"], tiled=True),
    *(_read(source, task) for source in (train_source, validation_source)),
    seed=config.train.seed,
    **config.pretrain.to_dict(),
  )
  return state._replace(
    constants={
      **state.constants,
      "constants": {
        **state.constants["constants"],
        "condition_net": {
          **own,
          "classifier": jax.device_put(params, places["classifier"]),
        },
      },
    }
  )


def _trained(
  classifier,
  params,
  training,
  held_out,
  *,
  seed,
  epochs,
  batch_size,
  learning_rate,
  momentum,
):
  """Params as numpy; says how many held-out pictures they classify right."""

  def logits(params, grey, rng=None):
    _, found = classifier.apply(
      {"params": params},
      grey,
      deterministic=rng is None,
      rngs=None if rng is None else {"dropout": rng},
    )
    return found

  params = fit_logits(
    logits,
    params,
    optax.sgd(learning_rate, momentum),
    *training,
    steps=-(-epochs * len(training[1]) // batch_size),
    batch_size=batch_size,
    seed=seed,
  )
  grey, labels = held_out
  right = np.mean(make_classify(logits, params)(grey) == labels)
  print(
    f"The condition network was trained to classify: {100 * right:.1f} % of"
    f" {len(labels):,} held-out pictures. From here on it stays as it is."
  )
  return jax.tree.map(np.asarray, params)


def _read(source, task):
  """Conditions [N, ...] and labels [N] of a labelled source."""
  condition = jax.jit(lambda batch: task.prepare(batch)[1])
  batches = loader.evaluation_batches(
    source, image_size=task.image_size, batch_size=_READ
  )
  total = -(-len(source) // _READ)
  conds, labels = [], []
  for batch in tqdm(batches, total=total, unit="batch", desc="reading"):
    mask = batch.pop("mask")
    if "label" not in batch:
      raise ValueError(
        f"{source.name} has no labels, which the condition network is trained"
        " on: choose another --config.data.source."
      )
    conds.append(np.asarray(condition(batch))[mask])
    labels.append(batch["label"][mask])
  return np.concatenate(conds), np.concatenate(labels)
