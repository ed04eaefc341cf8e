"""Files that `load` refuses, and variables that `save` refuses."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import cinn_jax
from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.bijections.base import zero_log_det
from cinn_jax.workdir import tensor_file
from tests.support.trees import assert_same


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
  with pytest.raises(ValueError, match=r"is not a file from cinn_jax\.save"):
    cinn_jax.load(path)
  array = {"a": np.ones(3)}
  for metadata in (None, {}, {"cinn_jax": "1"}, {"cinn_jax": "{"}):
    path.write_bytes(safetensors.numpy.save(array, metadata))
    with pytest.raises(
      ValueError, match=r"is not a file from cinn_jax.save\.$"
    ):
      cinn_jax.load(path)


def _rewrite(path, target, **changes):
  variables, description = tensor_file.read(path)
  tensor_file.write(target, variables, {**description, **changes})


def test_newer_format_raises(saved, tmp_path):
  path = tmp_path / "new.safetensors"
  _rewrite(saved[2], path, format_version=4)
  with pytest.raises(ValueError, match=r"has format 4, .* formats up to 3:"):
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
    assert_same(variables, again)
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
  assert_same(cinn_jax.load(path, flow)[1], variables)
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
