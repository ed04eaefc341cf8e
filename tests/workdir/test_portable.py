"""One file with a flow and its variables: `save`, `load` and `export`."""

import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax import make_flow, vector_flow
from cinn_jax.bijections import standardization
from cinn_jax.bijections.base import zero_log_det
from cinn_jax.models import BUILDERS
from cinn_jax.models.networks.summary_nets import SeriesNet, SetNet, VectorNet
from cinn_jax.workdir import portable, tensor_file
from tests.models.test_settings import SMALL
from tests.support import tiny
from tests.support.drawing import normal
from tests.support.untrained import make_workdir

_ADDRESS = "0x[0-9a-f]+"
SUBNET = functools.partial(cinn_jax.Subnet, widths=(8,), kernels=(3, 3))


def _model(name, **options):
  settings = {**SMALL[name].settings, **options}
  if name == "vector_flow":
    return make_flow(vector_flow(**settings), SMALL[name].x, SMALL[name].cond)
  module = BUILDERS[name](**settings)
  return make_flow(module, SMALL[name].x, SMALL[name].cond)


def _own_flow():
  """Returns the flow of notebooks/own_flow.ipynb, with fewer steps."""

  def stack(depth):
    coupling = bj.AffineCoupling(SUBNET, alpha=1.0)
    return bj.Stack(bj.Chain((coupling, bj.Orthogonal())), depth)

  module = bj.MultiScale(
    stages=(bj.Chain((bj.Haar(), stack(2))), stack(2)), splits=(bj.Split(2),)
  )
  return make_flow(module, (8, 8, 1), (4, 4, 1))


FLOWS = {
  **{name: functools.partial(_model, name) for name in SMALL},
  "bfloat16": functools.partial(_model, "glow", compute_dtype="bfloat16"),
  "set": lambda: make_flow(
    vector_flow(2, condition_net=SetNet()), (2,), (5, 3)
  ),
  "series": lambda: make_flow(
    vector_flow(2, blocks=2, condition_net=SeriesNet()), (2,), (8, 3)
  ),
  "vector": lambda: make_flow(
    vector_flow(2, blocks=2, condition_net=VectorNet(), mixing="permutation"),
    (2,),
    (17,),
  ),
  "readme": lambda: make_flow(vector_flow(2), (2,)),
  "own_flow": _own_flow,
}


def _draw(flow, cond_shape=None):
  """Returns variables of random bits, and the shapes of a batch."""
  x, cond = [
    shape and jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    for shape in (flow.event_shape, flow.cond_shape or cond_shape)
  ]
  abstract = jax.eval_shape(flow.init, jax.random.key(0), x, cond)
  random = np.random.default_rng(0)

  def fill(leaf):
    size = leaf.size * leaf.dtype.itemsize
    return jnp.asarray(
      np.frombuffer(random.bytes(size), leaf.dtype).reshape(leaf.shape)
    )

  return jax.tree.map(fill, abstract), x, cond


def _same(one, other):
  assert jax.tree.structure(one) == jax.tree.structure(other)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    assert a.dtype == b.dtype and a.shape == b.shape
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("name", FLOWS)
def test_round_trip_is_exact(name, tmp_path):
  flow = FLOWS[name]()
  variables, x, cond = _draw(flow, (2,))
  path = tmp_path / "flow.safetensors"
  cinn_jax.save(path, flow, variables)
  loaded, again = cinn_jax.load(path)
  _same(variables, again)
  shapes = (flow.event_shape, flow.cond_shape)
  assert (loaded.event_shape, loaded.cond_shape) == shapes
  # Equal programs give equal numbers.
  texts = [
    str(jax.make_jaxpr(each.log_prob)(variables, x, cond))
    for each in (flow, loaded)
  ]
  assert re.sub(_ADDRESS, "", texts[0]) == re.sub(_ADDRESS, "", texts[1])


def test_log_prob_is_exact(tmp_path):
  flow = FLOWS["own_flow"]()
  x = normal(0, (2, 8, 8, 1), np.float32)
  cond = normal(1, (2, 4, 4, 1), np.float32)
  variables = flow.init(jax.random.key(0), x, cond)
  cinn_jax.save(tmp_path / "flow", flow, variables)  # whatever its name
  loaded, again = cinn_jax.load(str(tmp_path / "flow"))
  _same(flow.log_prob(variables, x, cond), loaded.log_prob(again, x, cond))


def test_every_type_of_number_comes_back(tmp_path):
  flow = make_flow(bj.Chain((bj.ActNorm(), bj.Permutation())), (3,))
  variables = flow.init(jax.random.key(0), jnp.ones((4, 3)))
  bfloat = jax.tree.map(
    lambda leaf: leaf.astype(jnp.bfloat16), variables["params"]
  )
  double = jax.tree.map(lambda _: np.array([0.1, 1e-300, np.nan]), bfloat)
  for params in (bfloat, double):
    saved = {**variables, "params": params}
    cinn_jax.save(tmp_path / "a.safetensors", flow, saved)
    _, loaded = cinn_jax.load(tmp_path / "a.safetensors")
    _same(saved, loaded)
    [permutation] = jax.tree.leaves(loaded["constants"])
    assert permutation.dtype == np.int32


def test_double_precision_stays_with_x64(tmp_path):
  flow = make_flow(bj.ActNorm(), (3,))
  with jax.enable_x64(True):
    x = normal(0, (4, 3))
    variables = flow.init(jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: leaf + 1e-12, variables)
    cinn_jax.save(tmp_path / "a.safetensors", flow, variables)
    loaded, again = cinn_jax.load(tmp_path / "a.safetensors")
    assert isinstance(jax.tree.leaves(again)[0], jax.Array)
    _same(variables, again)
    _same(flow.log_prob(variables, x), loaded.log_prob(again, x))


def test_flow_without_variables_comes_back(tmp_path):
  flow = make_flow(bj.Haar(), (4, 4, 3))
  cinn_jax.save(tmp_path / "a.safetensors", flow, {})
  assert cinn_jax.load(tmp_path / "a.safetensors")[1] == {}
  cinn_jax.save(tmp_path / "a.safetensors", flow, {"params": {"x": {}}})
  variables = cinn_jax.load(tmp_path / "a.safetensors")[1]
  assert variables == {"params": {"x": {}}}


def test_conditions_that_are_dicts_and_tuples_come_back(tmp_path):
  module = bj.Chain(
    (
      bj.Conditioned(bj.AffineCoupling(SUBNET), "a"),
      bj.Conditioned(bj.AffineCoupling(SUBNET), "b"),
    )
  )
  shapes = {"a": (3,), "b": ((4, 4, 2), (1,))}
  flow = make_flow(module, (4, 4, 2), shapes)
  x = jnp.ones((1, 4, 4, 2))
  cond = {
    "a": jnp.ones((1, 3)),
    "b": (jnp.ones((1, 4, 4, 2)), jnp.ones((1, 1))),
  }
  variables = flow.init(jax.random.key(0), x, cond)
  cinn_jax.save(tmp_path / "a.safetensors", flow, variables)
  loaded, again = cinn_jax.load(tmp_path / "a.safetensors")
  assert loaded.cond_shape == shapes
  loaded.log_prob(again, x, cond)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """A flow, its variables, and a file of them."""
  path = tmp_path_factory.mktemp("saved") / "flow.safetensors"
  flow = make_flow(vector_flow(2, blocks=2, hidden=(4,)), (2,), (3,))
  variables = flow.init(jax.random.key(0), jnp.ones((4, 2)), jnp.ones((4, 3)))
  cinn_jax.save(path, flow, variables)
  return flow, variables, path


def test_other_programs_read_the_file(saved):
  _, variables, path = saved
  arrays = safetensors.numpy.load_file(path)
  assert len(arrays) == len(jax.tree.leaves(variables))
  assert all(name.startswith(("params/", "constants/")) for name in arrays)
  with safetensors.safe_open(path, "numpy") as file:
    described = json.loads(file.metadata()["cinn_jax"])
  assert described["format_version"] == 2
  assert described["event_shape"] == [2]
  assert described["versions"]["jax"] == jax.__version__


def test_cut_file_raises(saved, tmp_path):
  content = saved[2].read_bytes()
  for size in (0, 5, 100, len(content) // 2, len(content) - 1):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[:size])
    with pytest.raises(ValueError, match=r"cut.safetensors is damaged, or is"):
      cinn_jax.load(path)


def test_other_files_raise(tmp_path):
  path = tmp_path / "other.safetensors"
  path.write_text("No such file, but a text.")
  with pytest.raises(ValueError, match=r"is no file from cinn_jax\.save"):
    cinn_jax.load(path)
  array = {"a": np.ones(3)}
  for metadata in (None, {}, {"cinn_jax": "1"}, {"cinn_jax": "{"}):
    path.write_bytes(safetensors.numpy.save(array, metadata))
    with pytest.raises(ValueError, match=r"is no file from cinn_jax.save\.$"):
      cinn_jax.load(path)


def _rewrite(path, target, **changes):
  variables, description = tensor_file.read(path)
  tensor_file.write(target, variables, {**description, **changes})


def test_newer_format_raises(saved, tmp_path):
  path = tmp_path / "new.safetensors"
  _rewrite(saved[2], path, format_version=3)
  with pytest.raises(ValueError, match=r"has format 3, .* formats up to 2:"):
    cinn_jax.load(path)


@pytest.mark.parametrize(
  "changes, message",
  [
    (
      {"architecture": {"partial": "os.system", "args": ["x"], "keywords": {}}},
      "'os.system' is not a class or function of cinn_jax",
    ),
    ({"architecture": {"name": "jax.nn.relu"}}, "not a bijection"),
    ({"architecture": [1]}, "not a bijection"),
    ({"event_shape": "2"}, "odd shapes"),
    ({"event_shape": None}, "odd shapes"),
    ({"cond_shape": {"name": "jax.nn.relu"}}, "odd shapes"),
  ],
)
def test_what_cannot_be_built_is_refused(changes, message, saved, tmp_path):
  path = tmp_path / "odd.safetensors"
  _rewrite(saved[2], path, **changes)
  with pytest.raises(ValueError, match=f"odd.* cannot be built .*{message}"):
    cinn_jax.load(path)


def test_missing_file_raises(tmp_path):
  for name in ("none.safetensors", "none"):
    with pytest.raises(FileNotFoundError, match="none"):
      cinn_jax.load(tmp_path / name)


class Shift(bj.Bijection):
  """A bijection that is not the package's."""

  size: int = 2

  @nn.compact
  def forward(self, x, cond=None):
    shift = self.param("shift", nn.initializers.normal(), (self.size,))[None]
    # The condition's width is known only from the condition.
    if cond is not None:
      shift = shift + nn.Dense(self.size)(cond)
    return x - shift, zero_log_det(x)


def test_flow_of_a_user_is_passed_to_load(tmp_path):
  path = tmp_path / "own.safetensors"
  flow = make_flow(bj.Chain((Shift(),)), (2,), (3,))
  batch = jnp.ones((1, 2)), jnp.ones((1, 3))
  variables = flow.init(jax.random.key(0), *batch)
  cinn_jax.save(path, flow, variables)
  with pytest.raises(ValueError, match=r"without an architecture .*Shift"):
    cinn_jax.load(path)
  # Without the shape of a condition, the file's counts.
  for same in (flow, make_flow(flow.module, (2,))):
    loaded, again = cinn_jax.load(path, flow=same)
    assert loaded is same
    _same(variables, again)
  for other, message in (
    (make_flow(bj.Chain((Shift(1),)), (2,)), r"has shape \[2\], not \[1\]"),
    (make_flow(bj.ActNorm(), (2,)), r"it lacks params/.* \(and \d more\)"),
    (make_flow(flow.module, (3,)), r"x of shape \[2\], .* takes \[3\]"),
    (make_flow(flow.module, (2,), (4,)), r"kernel has shape \[3, 2\], not \[4"),
  ):
    with pytest.raises(ValueError, match=message):
      cinn_jax.load(path, flow=other)


def test_condition_of_unknown_shape(tmp_path):
  path = tmp_path / "own.safetensors"
  flow = make_flow(Shift(), (2,))
  variables = flow.init(jax.random.key(0), jnp.ones((1, 2)), jnp.ones((1, 3)))
  cinn_jax.save(path, flow, variables)
  # The parts that see the condition are not known, the others are checked.
  _same(cinn_jax.load(path, flow)[1], variables)
  with pytest.raises(ValueError, match=r"not fit .* give make_flow its cond"):
    cinn_jax.load(path, make_flow(Shift(5), (2,)))


def test_save_refuses_variables_of_another_flow(saved, tmp_path):
  flow, variables, _ = saved
  params = variables["params"]
  kind = jax.tree.map(lambda leaf: leaf.astype(np.int8), params)
  for wrong, message in (
    (params, "there is no collection 'constants'"),
    ({**variables, "params": {}}, "it lacks params/"),
    ({**variables, "params": {**params, "x": np.ones(1)}}, "has no params/x"),
    ({**variables, "params": kind}, "is int8, not float32"),
    (jax.tree.map(float, {"a": 1}), "there is no collection"),
    (jax.tree.map(lambda leaf: 1.0, variables), "is float, not an array"),
  ):
    with pytest.raises(ValueError, match=f"do not fit the flow: .*{message}"):
      cinn_jax.save(tmp_path / "a", flow, wrong)
  assert not list(tmp_path.iterdir())


def test_save_refuses_what_the_format_lacks(tmp_path):
  flow = make_flow(bj.Haar(), (4, 4, 3))
  for leaf, message in (
    ("text", "a/b is str, expected an array"),
    (np.array(["text"]), "cannot hold these arrays"),
  ):
    with pytest.raises(ValueError, match=message):
      cinn_jax.save(tmp_path / "a", flow, {"a": {"b": leaf}})
  with pytest.raises(ValueError, match="has a slash"):
    cinn_jax.save(tmp_path / "a", flow, {"a/b": np.ones(1)})


def test_units_of_fit_are_saved_too(saved, tmp_path):
  flow, variables, _ = saved
  units = {"mean": jnp.array([1e3, 2.0]), "std": jnp.array([5.0, 1e-3])}
  fitted = standardization.with_standardization(variables, {"x": units})
  cinn_jax.save(tmp_path / "a.safetensors", flow, fitted)
  loaded, again = cinn_jax.load(tmp_path / "a.safetensors")
  _same(fitted, again)
  batch = jnp.array([[999.0, 2.001]]), jnp.ones((1, 3))
  log_prob = flow.log_prob(fitted, *batch)
  _same(log_prob, loaded.log_prob(again, *batch))
  assert not np.allclose(log_prob.total, flow.log_prob(variables, *batch).total)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "run"
  make_workdir(tiny.digits(), path)
  return path


def test_workdir_and_its_export_load_alike(workdir, tmp_path):
  path = tmp_path / "folder" / "digits.safetensors"
  portable.export(workdir, path)
  away = shutil.move(path, tmp_path / "elsewhere.safetensors")
  cond = jax.nn.one_hot([3, 7], 10)
  results = []
  for place in (workdir, away):
    flow, variables = cinn_jax.load(place)
    assert flow.cond_shape == (10,)
    draw = flow.sample(variables, jax.random.key(0), cond, num_samples=2)
    results.append((variables, draw))
  _same(*results)
  _, description = tensor_file.read(away)
  assert description["run"]["task"]["name"] == "class_conditional"
  assert description["run"]["step"] == 0


@pytest.mark.parametrize("named", [True, False])
def test_export_mode(named, workdir, tmp_path):
  path = workdir / "export.safetensors"
  arguments = ["--mode=export", f"--workdir={workdir}"]
  if named:
    path = tmp_path / "given.safetensors"
    arguments.append(f"--outputs={path}")
  result = subprocess.run(
    [sys.executable, "-m", "cinn_jax.main", *arguments],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert f"Written: {path}." in result.stdout
  _same(cinn_jax.load(path)[1], cinn_jax.load(workdir)[1])


def test_a_workdir_takes_no_flow(workdir, saved):
  with pytest.raises(ValueError, match="is not a file, and a workdir has"):
    cinn_jax.load(workdir, flow=saved[0])
