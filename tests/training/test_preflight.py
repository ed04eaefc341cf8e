"""Training steps compiled for devices that this machine does not have."""

import importlib.util
import pathlib
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import pytest

from cinn_jax import tasks
from cinn_jax.runtime import cpu_convolution, slices, target
from cinn_jax.training import preflight
from cinn_jax.training.preflight_report import report
from configs import colorize
from tests.support import tiny

TEXT = """
  %a = f32[8,3]{1,0:T(8,128)} all-reduce(%x), channel_id=1
  %b = (f32[4], bf16[2,2]) all-reduce-start(%y, %z), channel_id=2
  %c = (f32[4], bf16[2,2]) all-reduce-done(%b)
  %d = s32[] add(%p, %q)
  ROOT %e = u8[16]{0} all-gather(%w), dimensions={0}
"""


@pytest.mark.parametrize(
  "name, count", [("cpu:8", 8), ("tpu:v5e:4x4", 16), ("tpu:v4:2x2x2", 8)]
)
def test_names_of_devices(name, count):
  assert slices.parse(name).num_devices == count


@pytest.mark.parametrize(
  "name",
  [
    *["", "cpu", "cpu:0", "cpu:x", "tpu", "tpu:v5e", "tpu:v9:2x2", "gpu:8"],
    *["tpu:v5e:4", "tpu:v5e:2x2x2", "tpu:v5e:0x2", "tpu:v5e:-1x2"],
  ],
)
def test_other_names_raise(name):
  with pytest.raises(ValueError, match=r"names no devices; .*tpu:v5e:2x2"):
    slices.parse(name)


def test_collectives_are_counted():
  assert preflight.collectives(TEXT) == {
    "all-reduce": (2, 8 * 3 * 4 + 4 * 4 + 4 * 2),
    "all-gather": (1, 16),
  }


def test_batch_has_what_the_task_asks_for():
  task = tasks.BUILDERS["color_mnist"](image_size=8)
  batch = preflight.batch_shapes(task, 4)
  assert batch["grey"].shape == batch["image"].shape == (4, 8, 8, 3)


def test_other_fields_of_records_are_named():
  task = tasks.BUILDERS["color_mnist"](image_size=8)
  other = task._replace(prepare=lambda batch: (batch["features"], None))
  with pytest.raises(ValueError, match="records have 'features', which"):
    preflight.batch_shapes(other, 4)


def test_a_missing_file_makes_one_line():
  config = colorize.get_config("pyramid")
  config.model.features = "nowhere.safetensors"
  with pytest.raises(ValueError, match=r"nowhere\.safetensors"):
    preflight.preflight(config, "cpu:1", limit=300, say=lambda stage: None)


def test_a_trace_is_that_of_its_target():
  def trace():
    def convolve(x, w):
      return cpu_convolution.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=cpu_convolution.LAYOUT_NUMBERS
      )

    x, w = jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 2, 2))
    return str(jax.make_jaxpr(convolve)(x, w))

  assert "cpu_conv" in trace()
  with target.tracing_for("tpu"):
    assert "cpu_conv" not in trace()
  assert "cpu_conv" in trace()


@pytest.fixture(scope="module")
def found():
  config = tiny.digits(batch_size=8)
  stages = []
  result = preflight.preflight(config, "cpu:4", limit=300, say=stages.append)
  return config, result, stages


def test_the_step_sums_gradients_and_moves_nothing_else(found):
  _, result, stages = found
  assert set(result.collectives) == {"all-reduce"}
  assert result.temporaries > 0 and result.flops > 0
  assert result.fits(None) and not result.fits(
    slices.CHIPS["v5e"]._replace(memory=result.total - 1)
  )
  assert stages[-1] == "Waiting for the compiler, which can take minutes."


def test_the_report_says_what_to_change(found):
  config, result, _ = found
  text = report(config, "tpu:v5e:2x2", result)
  assert "FITS: " in text and "DOES NOT FIT" not in text
  assert "floor: no step is faster" in text
  text = report(config, "tpu:v5e:2x2", result._replace(temporaries=2**35))
  assert "DOES NOT FIT: 32.0" in text
  assert "--config.train.batch_size" in text or "chips with more" in text
  text = report(config, "tpu:v5e:2x2", result._replace(does_not_fit="Ran out"))
  assert "The compiler says: Ran out" in text


def test_a_batch_that_does_not_divide_raises():
  config = tiny.photos()
  config.train.batch_size = 3
  with pytest.raises(ValueError, match="does not divide over 2 devices"):
    preflight.preflight(config, "cpu:2", limit=300, say=lambda stage: None)


def test_it_never_hangs():
  with pytest.raises(TimeoutError, match=r"0\.01 s of waiting for the process"):
    preflight.preflight(
      tiny.photos(), "cpu:2", limit=0.01, say=lambda stage: None
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_compiler_does_not_outlive_its_command():
  command = ["-m", "cinn_jax.main", "--mode=preflight", "--devices=cpu:2"]
  process = subprocess.Popen(
    [sys.executable, "-u", *command, "--config=configs/colorize.py"],
    cwd=pathlib.Path(__file__).parents[2],
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout is not None
  while "Waiting for the compiler" not in process.stdout.readline():
    assert process.poll() is None
  threads = pathlib.Path(f"/proc/{process.pid}/task").glob("*/children")
  children = [int(pid) for file in threads for pid in file.read_text().split()]
  assert children
  process.kill()
  process.wait()
  process.stdout.close()
  end = time.monotonic() + 3  # It would compile for much longer.
  while any(map(_is_alive, children)):
    assert time.monotonic() < end
    time.sleep(0.05)


def _is_alive(pid):
  try:
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
  except FileNotFoundError:
    return False
  return state.split()[0] != "Z"


@pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is not None, reason="libtpu is here"
)
def test_without_libtpu_a_line_says_how_to_get_it():
  with pytest.raises(ValueError, match="pip install libtpu"):
    preflight.preflight(tiny.photos(), "tpu:v5e:2x2", limit=9)


@pytest.mark.slow
@pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
def test_a_tpu_step_gathers_nothing():
  config = tiny.photos()
  config.train.batch_size = 4
  result = preflight.preflight(config, "tpu:v5e:2x2", limit=600)
  assert set(result.collectives) == {"all-reduce"}
  assert result.fits(slices.parse("tpu:v5e:2x2").chip)
