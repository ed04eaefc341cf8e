"""Runs and photographs for the page."""

import importlib

import pytest
from PIL import Image
from skimage import data

from cinn_jax.page.runs import open_runs
from cinn_jax.page.session import Session
from tests.support import pyramids, shared_programs, untrained


def small_pictures(name):
  """Returns configs/NAME.py, made small enough to run in seconds."""
  config = importlib.import_module(f"configs.{name}").get_config()
  config.model.update(
    {
      "hidden": (4,),
      "depths": (1,),
      "condition_channels": (4,),
      "condition_convolutions": 1,
      "injector": False,
    }
  )
  config.task.image_size = 8
  return config


@pytest.fixture(scope="module", autouse=True)
def _shared_programs():
  with shared_programs.shared():
    yield


@pytest.fixture(scope="session")
def workdirs(tmp_path_factory):
  """Files of runs of three tasks, by task."""
  folder = tmp_path_factory.mktemp("runs")
  configs = {
    "colorize": pyramids.small_photographs(features=""),
    "inpaint": small_pictures("inpaint"),
    "super_resolution": small_pictures("super_resolution"),
  }
  for name, config in configs.items():
    untrained.write_file(config, folder / f"{name}.safetensors")
  return {name: str(folder / f"{name}.safetensors") for name in configs}


@pytest.fixture(scope="session")
def runs(workdirs):
  """The runs by task."""
  # A session's fixture is made before those of a module.
  with shared_programs.shared():
    opened = open_runs(list(workdirs.values()))
  return {run.task: run for run in opened.values()}


@pytest.fixture(scope="session")
def cat(tmp_path_factory):
  path = tmp_path_factory.mktemp("photo") / "cat.jpg"
  Image.fromarray(data.chelsea()).save(path)
  return str(path)


@pytest.fixture
def session(tmp_path):
  return Session(tmp_path / "tab")
