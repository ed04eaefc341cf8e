"""Photographs are opened once, and answered as often as one likes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import data

from cinn_jax.images import reading
from cinn_jax.sampling.answer import Answer
from cinn_jax.sampling.hints import Point
from cinn_jax.sampling.inputs import Item
from cinn_jax.sampling.numbered import draw_ranked, make_draw
from cinn_jax.sampling.photos import Photos, Steering
from cinn_jax.sampling.sample import sample
from cinn_jax.workdir.trained import restore
from tests.support import pictures, pyramids, untrained

HINTS = (Point(200, 150, (20, 60, 200)), Point(30, 40, (250, 200, 30)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "run.safetensors"
  untrained.write_file(pyramids.small_photographs(), path)
  return path


@pytest.fixture(scope="module")
def photos(run):
  return Photos(restore(run))


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
  path = tmp_path_factory.mktemp("photo") / "cat.jpg"
  Image.fromarray(data.chelsea()).resize((900, 600)).save(path)
  return str(path)


@pytest.mark.slow
def test_features_that_are_given_change_no_sample(run, photos, cat):
  photograph = photos.open(cat)
  assert photograph.cond.keys() == {"lightness", "features"}
  drawn = draw_ranked(photos.subject(photograph).draw, 0, 3)
  trained = restore(run)
  cells = trained.config["task"]["hints"]
  cond = {
    "lightness": photograph.cond["lightness"],
    "hints": jnp.zeros((1, cells, cells, 3)),
  }
  x, log_prob = make_draw(trained.flow)(
    trained.variables, cond, jax.random.key(0), jnp.arange(3), 1.0
  )
  np.testing.assert_allclose(drawn.x, x, atol=1e-4)
  np.testing.assert_allclose(drawn.log_prob, log_prob[drawn.order], rtol=1e-4)


def test_features_matter(photos, cat):
  photograph = photos.open(cat)
  subject = photos.subject(photograph)
  photograph.cond["features"] = jax.tree.map(
    jnp.zeros_like, photograph.cond["features"]
  )
  blind = photos.subject(photograph)
  assert not np.allclose(
    draw_ranked(subject.draw, 0, 3).x, draw_ranked(blind.draw, 0, 3).x
  )


@pytest.mark.slow
def test_an_answer_writes_what_the_mode_writes(run, photos, cat, tmp_path):
  subject = photos.subject(photos.open(cat), HINTS)
  answer = Answer(subject, draw_ranked(subject.draw, 7, 3))
  path = answer.write(tmp_path / "page", "cat", 1)
  for name, options in {"all": {}, "preview": {"preview": True}}.items():
    folder = tmp_path / name
    steering = Steering(HINTS, **options)
    assert not sample(
      run, folder, inputs=[cat], num_samples=3, seed=7, steering=steering
    )
  assert path.name == "cat_2.jpg"
  whole = (tmp_path / "all" / path.name).read_bytes()
  assert path.read_bytes() == whole
  # Previews are of the same samples in the same order.
  lists = [
    json.loads((tmp_path / name / "samples.json").read_text())["pictures"]
    for name in ("all", "preview")
  ]
  assert lists[0]["cat"]["draws"] == lists[1]["cat"]["draws"]
  assert lists[0]["cat"]["bits_per_dim"] == lists[1]["cat"]["bits_per_dim"]
  for k, preview in enumerate(answer.previews(), 1):
    assert preview.shape == (341, 512, 3)
    file = tmp_path / "preview" / f"cat_{k}.jpg"
    assert pictures.distance(preview, reading.decode(file)) < 40


@pytest.mark.slow
def test_photographs_of_one_class_of_sizes_share_a_program(photos, tmp_path):
  def answer(width, height):
    path = tmp_path / f"{width}.png"
    Image.fromarray(data.chelsea()).resize((width, height)).save(path)
    subject = photos.subject(photos.open(str(path)), HINTS)
    return Answer(subject, draw_ranked(subject.draw, 0, 3)).previews()

  answer(300, 200)
  compiled = []

  def listen(event, seconds, **kwargs):
    if event.endswith("backend_compile_duration"):
      compiled.append(kwargs)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    answer(411, 333)
    assert not compiled
    # The listener hears.
    jax.jit(lambda x: x + 1)(0.0)
    assert compiled
  finally:
    jax.monitoring.clear_event_listeners()


def test_items_are_files(photos, cat):
  subject = photos.load(Item("cat", cat))
  assert subject.note.startswith("900x600; seen by the model as 32x32")
