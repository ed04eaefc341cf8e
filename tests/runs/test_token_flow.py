"""Token flows learn, and run from a config to samples and one file."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import cinn_jax
from cinn_jax import likelihood, make_flow
from cinn_jax.evaluation.evaluate import evaluate
from cinn_jax.experiment.build import build_model
from cinn_jax.models.token_flow import KINDS
from cinn_jax.sampling.sample import sample
from cinn_jax.training.train import train
from cinn_jax.workdir.portable import export
from configs import inpaint
from tests.support.drawing import normal
from tests.support.token_flows import TINY


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_eight_pictures_are_learned(kind):
  """Checks that 200 steps lower bits/dim of a batch by more than 1."""
  blocks = 2 if kind == "autoregressive" else 4
  options = {"kind": kind, "blocks": blocks, "conditioned": False}
  model = build_model("token_flow", **{**TINY, **options})
  flow = make_flow(model, (4, 4, 2))
  x = normal(0, (8, 4, 4, 2), np.float32)
  # Pictures of one colour each, with a little noise.
  x = x.mean((1, 2), keepdims=True) * 4 + x / 20
  variables = flow.init(jax.random.key(0, impl="rbg"), x)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-3))

  def bits(params):
    log_prob = likelihood.log_prob(
      *model.apply({**variables, "params": params}, x)
    )
    return jnp.mean(likelihood.bits_per_dim(log_prob.total, x[0].size))

  def step(carry, _):
    params, state = carry
    value, gradient = jax.value_and_grad(bits)(params)
    updates, state = optimizer.update(gradient, state)
    return (optax.apply_updates(params, updates), state), value

  params = variables["params"]
  fit = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=200))
  _, values = fit((params, optimizer.init(params)))
  assert values[-1] < values[0] - 1
  assert np.isfinite(values).all()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  config = inpaint.get_config("tarflow,size=8,recipe=small")
  config.model.update(
    {"width": 8, "head_width": 4, "layers": 1, "blocks": 2}
    | {"condition_layers": 1, "condition_stem": "patches"}
  )
  config.optimizer.update(
    {"learning_rate": 5e-3, "schedule_options": {"warmup_steps": 0}}
  )
  config.train.update(
    {"num_steps": 60, "batch_size": 16, "ema_decay": 0.5, "log_every": 20}
    | {"eval_every": 60, "sheet_every": 60}
  )
  path = tmp_path_factory.mktemp("token_flow") / "run"
  train(config, path)
  return path


@pytest.mark.slow
def test_training_descends(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = list(map(json.loads, lines))
  trained = [row["bits_per_dim"] for row in rows if row["split"] == "train"]
  assert trained[-1] < trained[0] - 0.3
  [validated] = [row for row in rows if row["split"] == "validation"]
  assert validated["bits_per_dim_of_unscaled_data"] < 8
  assert validated["round_trip_error"] < 1e-3


@pytest.mark.slow
def test_holes_are_filled(workdir, tmp_path):
  pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  outputs = tmp_path / "out"
  failed = sample(workdir, outputs, inputs=[f"{tmp_path}/a.png"], num_samples=3)
  assert not failed
  filled = [np.asarray(Image.open(outputs / f"a_{k}.png")) for k in (1, 2, 3)]
  assert len({picture.tobytes() for picture in filled}) == 3
  for picture in filled:
    np.testing.assert_array_equal(picture[:2], pixels[:2])


@pytest.mark.slow
def test_evaluation_and_export(workdir, tmp_path):
  evaluate(workdir)
  saved = json.loads((workdir / "evaluation.json").read_text())
  assert saved["likelihood"]["bits_per_dim_of_unscaled_data"] < 8
  path = tmp_path / "flow.safetensors"
  export(workdir, path)
  flow, variables = cinn_jax.load(path)
  x, log_prob = flow.sample(
    variables, jax.random.key(0), jnp.zeros((1, 8, 8, 4)), num_samples=2
  )
  assert x.shape == (1, 2, 8, 8, 3) and np.isfinite(log_prob).all()
