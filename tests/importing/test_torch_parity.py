"""Checks imported MNIST networks against PyTorch, to 1e-4.

The networks consist of FrEIA's blocks, with the clamp of 2020, and are saved in
the official layout. These tests need the extra `freia` and are skipped without
it.
"""

import collections
import functools
import subprocess
import sys

import jax
import numpy as np
import pytest

from cinn_jax.experiment.build import build
from cinn_jax.importing.official import load_official
from cinn_jax.importing.workdir import import_official
from cinn_jax.sampling.sample import sample
from cinn_jax.training.train import train
from cinn_jax.workdir.trained import restore
from tests.support import official_layouts, tiny

torch = pytest.importorskip("torch")
freia = pytest.importorskip("FrEIA.modules")

LABELS = np.eye(10, dtype=np.float32)[[0, 3, 3, 7]]


def _subnet(layers, width, channels_in, channels_out):
  """Returns linear layers of the given names, with ReLU between them."""
  sizes = [channels_in] + [width] * (len(layers) - 1) + [channels_out]
  parts = collections.OrderedDict()
  for k, name in enumerate(layers):
    parts[name] = torch.nn.Linear(sizes[k], sizes[k + 1])
    parts[f"relu_{k}"] = torch.nn.ReLU()
  parts.popitem()
  return torch.nn.Sequential(parts)


def _blocks(variant, config):
  """Returns FrEIA's modules, a permutation and a coupling per block."""
  model, modules = config.model, []
  alpha, pixels = model.alpha, model.size**2
  layers, width = official_layouts.LAYERS[variant][1], model.hidden[0]
  state = np.random.get_state()
  torch.manual_seed(0)
  for seed in range(model.depth):
    modules.append(freia.PermuteRandom([(pixels,)], seed=seed))
    coupling = freia.GLOWCouplingBlock(
      [(pixels,)],
      [(10,)],
      subnet_constructor=functools.partial(_subnet, layers, width),
      clamp=alpha,
      clamp_activation=lambda s: 0.636 * torch.atan(s / alpha),
      split_len=pixels // 2,
    )
    with torch.no_grad():
      for parameter in coupling.parameters():
        # Far from the identity. With a factor of 3 the inverse reaches 2e4, so
        # float32 rounding alone exceeds the tolerance.
        parameter *= 2.0
    modules.append(coupling)
  np.random.set_state(state)  # FrEIA seeds the global generator.
  return modules


def _save(path, variant, modules):
  """Saves modules as the authors' code did, with the last batch as a buffer."""
  prefix = official_layouts.LAYERS[variant][0]
  tensors = {
    f"{prefix}.{node}.{key.replace('subnet', 's')}": value
    for node, module in enumerate(modules, start=2)
    if isinstance(module, freia.GLOWCouplingBlock)
    for key, value in module.state_dict().items()
  }
  tensors[prefix.replace("module_list", "tmp_var_4")] = torch.zeros(2, 25)
  if variant == "paper":
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters)
    torch.save({"opt": optimizer.state_dict(), "net": tensors}, path)
  else:
    torch.save(tensors, path)


def _run(modules, value, rev):
  """Runs FrEIA's modules on flat values; returns (output, log_det [B])."""
  value, total = torch.tensor(np.asarray(value)), torch.zeros(len(value))
  cond = torch.tensor(LABELS)
  with torch.no_grad():
    for module in reversed(modules) if rev else modules:
      is_coupling = isinstance(module, freia.GLOWCouplingBlock)
      options = {"c": [cond]} if is_coupling else {}
      (value,), log_det = module([value], rev=rev, **options)
      total = total + log_det
  return value.numpy(), total.numpy()


# Halves of 12 and 13 pixels; and of 8 each, so that shapes cannot tell which is
# which.
@pytest.mark.parametrize("size", [5, 4])
@pytest.mark.parametrize("variant", official_layouts.LAYERS)
def test_both_directions_agree_with_the_saved_network(variant, size, tmp_path):
  config = official_layouts.config(variant, size=size)
  modules = _blocks(variant, config)
  _save(tmp_path / "official.pt", variant, modules)
  variables = load_official(tmp_path / "official.pt", config)
  flow, _ = build(config)
  shape = (len(LABELS), size, size, 1)
  x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
  z, log_det = jax.jit(flow.forward)(variables, x, LABELS)
  expected = _run(modules, x.reshape(len(x), -1), rev=False)
  np.testing.assert_allclose(z, expected[0], rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(log_det, expected[1], rtol=1e-4, atol=1e-4)
  latent = np.random.default_rng(2).normal(size=z.shape).astype(np.float32)
  sample, log_det = jax.jit(flow.inverse)(variables, latent, LABELS)
  expected = _run(modules, latent, rev=True)
  flat = np.reshape(sample, latent.shape)
  np.testing.assert_allclose(flat, expected[0], rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(log_det, expected[1], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
  path = tmp_path_factory.mktemp("official") / "paper.pt"
  config = _digits()
  _save(path, "paper", _blocks("paper", config))
  return path


def _digits():
  """Returns a config of a small network like the paper's, on digits."""
  config = tiny.digits(
    num_steps=3, log_every=1, eval_every=3, sheet_every=3, batch_size=16
  )
  config.model.update({"depth": 2, "hidden": (8, 8, 8)})
  return config


def test_workdir_can_be_sampled_and_trained(official, tmp_path):
  workdir, config = tmp_path / "run", _digits()
  import_official(official, config, workdir)
  with pytest.raises(ValueError, match="holds a run already"):
    import_official(official, config, workdir)
  trained = restore(workdir)
  assert trained.step == 1
  expected = load_official(official, config)
  jax.tree.map(np.testing.assert_array_equal, trained.variables, expected)
  sample(workdir, tmp_path / "out", num_samples=1)
  assert (tmp_path / "out" / "sheet.png").is_file()
  train(config, workdir)
  assert restore(workdir).step == 3


def test_files_without_a_state_dict_are_refused(official, tmp_path):
  config = _digits()
  bad = tmp_path / "bad.pt"
  with pytest.raises(FileNotFoundError, match="No checkpoint"):
    load_official(bad, config)
  for content in (b"", b"no checkpoint"):
    bad.write_bytes(content)
    with pytest.raises(ValueError, match="not a checkpoint of only tensors"):
      load_official(bad, config)
  torch.save({"net": print}, bad)  # Needs code, which must not run.
  with pytest.raises(ValueError, match="not a checkpoint of only tensors"):
    load_official(bad, config)
  torch.save({"opt": {}}, bad)
  with pytest.raises(ValueError, match="no state dict under the key 'net'"):
    load_official(bad, config)


def test_missing_file_is_a_one_line_error(tmp_path):
  result = subprocess.run(
    [
      sys.executable,
      "-m",
      "cinn_jax.importing",
      "--config=configs/mnist.py:paper",
      f"--workdir={tmp_path / 'run'}",
      f"--checkpoint={tmp_path / 'nonesuch.pt'}",
    ],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 1
  [line] = result.stderr.strip().splitlines()
  assert line.startswith("Error: No checkpoint") and "nonesuch.pt" in line
