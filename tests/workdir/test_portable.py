"""One file with a flow and its variables: `save` and `load`."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax import make_flow, vector_flow
from cinn_jax.bijections import standardization
from cinn_jax.models import BUILDERS
from cinn_jax.models.networks.summary_nets import SeriesNet, SetNet, VectorNet
from cinn_jax.workdir import tensor_file
from tests.models.test_settings import SMALL
from tests.support import slow
from tests.support.drawing import normal
from tests.support.trees import assert_same

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


# One of each kind of part; the others repeat them.
QUICK = (
  *("bfloat16", "caflow", "color_mnist", "dense_cinn", "haar_colorization"),
  *("own_flow", "realnvp", "set", "token_flow", "vector"),
)


@pytest.mark.parametrize("name", slow.all_but(QUICK, FLOWS))
def test_round_trip_is_exact(name, tmp_path):
  flow = FLOWS[name]()
  variables, x, cond = _draw(flow, (2,))
  path = tmp_path / "flow.safetensors"
  cinn_jax.save(path, flow, variables)
  loaded, again = cinn_jax.load(path)
  assert_same(variables, again)
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
  assert_same(
    flow.log_prob(variables, x, cond), loaded.log_prob(again, x, cond)
  )


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
    assert_same(saved, loaded)
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
    assert_same(variables, again)
    assert_same(flow.log_prob(variables, x), loaded.log_prob(again, x))


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


def test_the_base_comes_back(saved, tmp_path):
  flow, variables, _ = saved
  heavy = make_flow(
    flow.module, flow.event_shape, flow.cond_shape, base=cinn_jax.StudentT(2.5)
  )
  path = tmp_path / "a.safetensors"
  cinn_jax.save(path, heavy, variables)
  loaded, again = cinn_jax.load(path)
  assert loaded.base == heavy.base
  batch = normal(0, (4, 2), np.float32), normal(1, (4, 3), np.float32)
  log_prob = heavy.log_prob(variables, *batch)
  assert_same(log_prob, loaded.log_prob(again, *batch))
  assert not np.allclose(log_prob.total, flow.log_prob(variables, *batch).total)
  # Earlier versions, which know no base, refuse the file.
  assert tensor_file.read(path)[1]["format_version"] == 3
  with pytest.raises(ValueError, match=r"base StudentT.*but the flow has None"):
    cinn_jax.load(path, flow=flow)


def test_units_of_fit_are_saved_too(saved, tmp_path):
  flow, variables, _ = saved
  units = {"mean": jnp.array([1e3, 2.0]), "std": jnp.array([5.0, 1e-3])}
  fitted = standardization.with_standardization(variables, {"x": units})
  cinn_jax.save(tmp_path / "a.safetensors", flow, fitted)
  loaded, again = cinn_jax.load(tmp_path / "a.safetensors")
  assert_same(fitted, again)
  batch = jnp.array([[999.0, 2.001]]), jnp.ones((1, 3))
  log_prob = flow.log_prob(fitted, *batch)
  assert_same(log_prob, loaded.log_prob(again, *batch))
  assert not np.allclose(log_prob.total, flow.log_prob(variables, *batch).total)


def test_the_result_of_a_fit_can_be_saved(tmp_path):
  flow = make_flow(bj.ActNorm(), (2,))
  result = cinn_jax.fit(
    flow, jax.random.key(0), normal(0, (300, 2)), num_epochs=1, progress=False
  )
  cinn_jax.save(tmp_path / "a.safetensors", flow, result)
  _, variables = cinn_jax.load(tmp_path / "a.safetensors")
  assert_same(variables, result.variables)
