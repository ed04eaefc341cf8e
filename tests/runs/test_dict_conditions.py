"""A run whose condition is a dict: colours given lightness and hints."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax import models, tasks
from cinn_jax.evaluation import evaluate
from cinn_jax.evaluation.by_task import image_to_image
from cinn_jax.evaluation.latent.sheets import draw_latent_sheets
from cinn_jax.experiment import build, describe
from cinn_jax.models.networks.subnets import Subnet
from cinn_jax.sampling import sample
from cinn_jax.sampling.draw import Sampling
from cinn_jax.sampling.pictures import Pictures
from cinn_jax.tasks import Task, rgb
from cinn_jax.training.train import train
from cinn_jax.workdir.trained import restore
from configs import colorize_rgb
from tests.support import untrained

NAME = "hinted"
SIZE = 8
SHAPES = {"lightness": (SIZE, SIZE, 1), "hints": (SIZE, SIZE, 3)}


def hinted(*, image_size) -> Task:
  """Builds a task: RGB given the luma, and the colour of some pixels."""
  whole = rgb.rgb_task(
    image_size=image_size,
    cond_shape=(*image_size, 1),
    condition=lambda batch: rgb.luma(batch["image"]),
    condition_noise="half",
    condition_picture=lambda levels: jnp.repeat(levels, 3, axis=-1),
    given="its luma and hints",
    condition_name="luma",
  )

  def prepare(batch):
    x, lightness = whole.prepare(batch)
    hints = jnp.zeros_like(x).at[:, ::4, ::4].set(x[:, ::4, ::4])
    return x, {"lightness": lightness, "hints": hints}

  def add_noise(rng, x, cond):
    noisy, _ = whole.add_noise(rng, x, cond["lightness"])
    return noisy, cond

  return whole._replace(
    prepare=prepare,
    add_noise=add_noise,
    condition_picture=lambda cond: whole.condition_picture(cond["lightness"]),
    cond_shape={name: (*image_size, s[-1]) for name, s in SHAPES.items()},
  )


def hinted_flow(*, memory, compute_dtype) -> bj.Bijection:
  """Builds two couplings, each of which sees both parts of the condition."""
  subnet = functools.partial(
    Subnet, widths=(4,), kernels=(3, 1), dtype=compute_dtype
  )
  step = bj.Chain((bj.AffineCoupling(subnet), bj.Permutation()))
  return bj.Stack(step, 2, memory)


@pytest.fixture(scope="module", autouse=True)
def registered():
  """Registers the task and its model wherever there are tables by name."""
  with pytest.MonkeyPatch.context() as patch:
    for table, value in (
      (tasks.BUILDERS, hinted),
      (models.BUILDERS, hinted_flow),
      (sample.SAMPLERS, Pictures),
      (evaluate.SAMPLES, image_to_image.evaluate),
    ):
      patch.setitem(table, NAME, value)
    yield


def _config():
  config = colorize_rgb.get_config()
  shared = ("memory", "compute_dtype")
  settings = {name: config.model[name] for name in shared}
  with config.unlocked():
    config.model = {"name": NAME, **settings}
    config.task = {"name": NAME, "image_size": (SIZE, SIZE)}
  config.train.update({"num_steps": 2, "batch_size": 8})
  config.train.update({"log_every": 1, "eval_every": 2, "sheet_every": 2})
  return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """Returns the workdir of an untrained run."""
  path = tmp_path_factory.mktemp("hinted") / "run"
  untrained.make_workdir(_config(), path)
  return path


def test_shapes_of_the_condition():
  flow, task = build.build(_config())
  assert flow.cond_shape == task.cond_shape == SHAPES
  cond = build.abstract_cond(task)
  shapes = {name: leaf.shape for name, leaf in cond.items()}
  assert shapes == {name: (1, *shape) for name, shape in SHAPES.items()}
  assert build.abstract_variables(flow, task)["params"]
  text = describe.describe(_config())
  assert "given its luma and hints" in text and "level 0 [8, 8, 3]" in text


def test_latent_sheets_refuse_it(workdir):
  with pytest.raises(ValueError, match="have several parts: hints, lightness"):
    draw_latent_sheets(workdir)


def test_every_entry_reaches_the_flow(workdir):
  trained = restore(workdir)
  x, cond = trained.task.prepare(trained.pictures("test", count=2))
  random = np.random.default_rng(0)
  # Untrained, the last layers are zero.
  variables = jax.tree.map(
    lambda leaf: (
      leaf + 0.1 * random.normal(size=leaf.shape).astype(np.float32)
      if leaf.dtype == jnp.float32
      else leaf
    ),
    trained.variables,
  )
  log_prob = jax.jit(trained.flow.log_prob)
  before = log_prob(variables, x, cond).total
  for name in SHAPES:
    other = {**cond, name: 1 - cond[name]}
    assert np.all(log_prob(variables, x, other).total != before), name


def test_samples_of_a_loaded_flow(workdir):
  flow, variables = cinn_jax.load(workdir)
  cond = {name: np.zeros((2, *shape), "f4") for name, shape in SHAPES.items()}
  draw = jax.jit(flow.sample, static_argnames="num_samples")
  x, log_prob = draw(variables, jax.random.key(0), cond, num_samples=3)
  assert x.shape == (2, 3, SIZE, SIZE, 3) and log_prob.shape == (2, 3)
  back, _ = flow.inverse(
    variables, flow.forward(variables, x[:, 0], cond)[0], cond
  )
  np.testing.assert_allclose(back, x[:, 0], atol=1e-5)


def test_a_missing_entry_raises(workdir):
  flow, variables = cinn_jax.load(workdir)
  lightness = np.zeros((1, *SHAPES["lightness"]), np.float32)
  with pytest.raises(ValueError, match=r"takes cond of shapes .*hints"):
    flow.sample(variables, jax.random.key(0), {"lightness": lightness})


def test_pictures_are_sampled(workdir, tmp_path):
  assert not sample.sample(workdir, tmp_path, num_samples=2)
  names = [f"test_{k}_{n}.png" for k in range(1, 9) for n in (1, 2)]
  files = {path.name for path in tmp_path.iterdir()}
  assert {*names, "samples.json", "sheet.png"} == files
  assert np.asarray(Image.open(tmp_path / names[0])).shape == (SIZE, SIZE, 3)


def test_the_test_split_is_evaluated(workdir):
  evaluate.evaluate(
    workdir, num_draws=2, sampling=Sampling(num_samples=2, seed=1)
  )
  saved = json.loads((workdir / "evaluation.json").read_text())
  assert np.isfinite(saved["likelihood"]["bits_per_dim"])
  assert saved["rows"]


@pytest.mark.slow
def test_it_trains(tmp_path):
  config = _config()
  train(config, tmp_path)
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  splits = [json.loads(line)["split"] for line in lines]
  assert splits == ["train", "train", "validation"]
  assert (tmp_path / "sheets" / "step_000002.png").is_file()
