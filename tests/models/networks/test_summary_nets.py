"""Summary networks: inputs that must matter, and inputs that must not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax.models.networks.summary_nets import SeriesNet, SetNet, VectorNet
from tests.support.drawing import draw_like, normal

B, N, D = 3, 6, 2


def _values(seed=0, count=N):
  return normal(seed, (B, count, D), np.float32)


def _draw(net, cond, scale=0.4):
  """Returns a jitted network with random parameters, and these."""
  abstract = jax.eval_shape(net.init, jax.random.key(0), cond)
  assert set(abstract) == {"params"}
  variables = draw_like(abstract, 5, np.float32, scale)
  return jax.jit(lambda cond: net.apply(variables, cond)), variables["params"]


def _padded(values, lengths, filler):
  """Replaces values beyond `lengths` by `filler`, and adds their mask."""
  mask = np.arange(values.shape[1]) < np.array(lengths)[:, None]
  return {"values": np.where(mask[..., None], values, filler), "mask": mask}


def _cut(values, lengths, b):
  return values[b : b + 1, : lengths[b]]


def test_vector_net_has_two_dense_layers():
  x = normal(0, (B, 5), np.float32)
  net, params = _draw(VectorNet(), x)
  assert params["Dense_0"]["kernel"].shape == (5, 50)
  hidden = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None]
  last = params["Dense_1"]
  expected = np.maximum(hidden, 0) @ last["kernel"] + last["bias"][None]
  np.testing.assert_allclose(net(x), expected, rtol=1e-4, atol=1e-4)
  assert expected.shape == (B, 20) and expected.min() < 0


def test_published_sizes():
  shapes = _draw(SetNet(), _values())[1]
  kernels = {name: layer["kernel"].shape for name, layer in shapes.items()}
  assert kernels == {
    "inner_0": (D, 64),
    "inner_1": (64, 64),
    "outer_0": (65, 64),  # with the size of the set
    "outer_1": (64, 64),
    "out": (64, 10),
  }
  shapes = _draw(SeriesNet(), _values())[1]
  kernels = [shapes[f"Conv_{k}"]["kernel"].shape for k in range(6)]
  layer = [(1, 32, 32), (2, 32, 32), (1, 64, 32)]
  assert kernels == [(1, D, 32), (2, D, 32), (1, 64, 32), *layer]
  assert shapes["Dense_0"]["kernel"].shape == (64, 10)


def test_order_of_a_set_does_not_matter():
  values = _values()
  net, _ = _draw(SetNet(), values)
  out = net(values)
  assert out.shape == (B, 10)
  order = np.random.default_rng(0).permutation(N)
  np.testing.assert_allclose(net(values[:, order]), out, rtol=1e-5, atol=1e-5)
  # Its elements do matter, and so does which set they are in.
  assert np.abs(net(_values(1)) - out).min(axis=1).max() > 1e-3
  mixed = np.roll(values.reshape(B * N, D), 1, axis=0).reshape(B, N, D)
  assert np.abs(net(mixed) - out).max() > 1e-2


def test_elements_of_a_set_are_averaged():
  values = _values()
  net, _ = _draw(SetNet(size_feature=False), values)
  twice = np.concatenate([values, values], axis=1)
  np.testing.assert_allclose(net(twice), net(values), rtol=1e-5, atol=1e-5)
  sized, _ = _draw(SetNet(), values)
  assert np.abs(sized(twice) - sized(values)).max() > 1e-2


@pytest.mark.parametrize("net", [SetNet(), SeriesNet()], ids=["set", "series"])
def test_padding_has_no_influence(net):
  values, lengths = _values(), (6, 4, 1)
  padded = _padded(values, lengths, 0.0)
  apply, _ = _draw(net, padded)
  out = apply(padded)
  for filler in (7.0, np.nan):
    again = apply(_padded(values, lengths, filler))
    np.testing.assert_array_equal(again, out)
  for b in range(B):
    # The result is the same without padding.
    alone = apply(_cut(values, lengths, b))
    np.testing.assert_allclose(alone[0], out[b], rtol=1e-4, atol=1e-5)
  # A full mask equals no mask, up to the order of the last layer's sum. Its
  # terms cancel, so its rounding is measured against the largest output.
  full = {"values": values, "mask": np.ones((B, N))}
  expected = apply(values)
  atol = 1e-6 * np.abs(expected).max()
  np.testing.assert_allclose(apply(full), expected, rtol=0, atol=atol)


def test_padding_has_no_gradient():
  values = jnp.asarray(_padded(_values(), (6, 4, 1), np.nan)["values"])
  mask = ~jnp.isnan(values[..., 0])
  for net in (SetNet(), SeriesNet()):
    apply, _ = _draw(net, values)
    gradient = jax.grad(
      lambda v, f=apply: jnp.sum(f({"values": v, "mask": mask}) ** 2)
    )(values)
    np.testing.assert_array_equal(gradient[~mask], 0)
    assert np.all(np.abs(gradient[mask]).max(axis=-1) > 0)


def test_empty_set_gives_finite_features():
  cond = {"values": _values(), "mask": np.zeros((B, N), bool)}
  apply, _ = _draw(SetNet(), cond)
  assert np.isfinite(apply(cond)).all()


def test_padding_of_an_empty_series_has_no_influence():
  longer = {"values": _values(), "mask": np.zeros((B, N), bool)}
  shorter = {k: v[:, : N // 2] for k, v in longer.items()}
  apply, _ = _draw(SeriesNet(), longer)
  np.testing.assert_array_equal(apply(longer), apply(shorter))


def test_order_of_a_series_matters():
  values = _values()
  net, _ = _draw(SeriesNet(), values)
  out = net(values)
  assert out.shape == (B, 10)
  assert np.abs(net(values[:, ::-1]) - out).min(axis=1).max() > 1e-3
  # Every time step reaches the summary, the first and the last included.
  for t in range(N):
    changed = values.copy()
    changed[:, t] += 1.0
    assert np.all(np.abs(net(changed) - out).max(axis=1) > 1e-5)


@pytest.mark.parametrize(
  "cond, message",
  [
    (np.ones((B, N)), r"values \[B, N, D\], got shape \[3, 6\]: .* last axis"),
    ({"values": _values()}, r"values and mask, got a dict of 'values'"),
    (
      {"values": _values(), "mask": np.ones((B, N, 1))},
      r"a mask \[3, 6\] for values \[3, 6, 2\], got \[3, 6, 1\]",
    ),
  ],
)
@pytest.mark.parametrize("net", [SetNet(), SeriesNet()], ids=["set", "series"])
def test_bad_condition_raises(net, cond, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(net.init, jax.random.key(0), cond)
