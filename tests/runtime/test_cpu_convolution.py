"""The CPU's convolution and its derivatives against JAX's own."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cinn_jax.runtime import cpu_convolution

CASES = [
  pytest.param(
    kernel,
    stride,
    padding,
    dilation,
    id=f"{kernel}-{stride}-{padding}-{dilation}",
  )
  for kernel, stride, padding, dilation in [
    (3, 1, "SAME", 1),
    (1, 1, "SAME", 1),
    (3, 2, ((1, 1), (1, 1)), 1),
    (3, 2, "SAME", 1),
    (3, 1, ((2, 2), (2, 2)), 2),
    (2, 1, "VALID", 1),
    (5, 3, ((2, 0), (1, 3)), 1),
  ]
]


def _both(stride, padding, dilation):
  """Returns our convolution and JAX's, as functions of data and weights."""
  arguments = {
    "window_strides": (stride,) * 2,
    "padding": padding,
    "rhs_dilation": (dilation,) * 2,
    "dimension_numbers": cpu_convolution.LAYOUT_NUMBERS,
  }
  return (
    functools.partial(cpu_convolution.conv_general_dilated, **arguments),
    functools.partial(lax.conv_general_dilated, **arguments),
  )


def _arrays(kernel, seed=0, batch=2, outputs=4):
  random = np.random.default_rng(seed)
  x = jnp.asarray(random.normal(size=(batch, 8, 7, 3)), jnp.float32)
  w = random.normal(size=(kernel, kernel, 3, outputs))
  return x, jnp.asarray(w, jnp.float32)


def _assert_equal(run, functions):
  ours, expected = (run(function) for function in functions)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    ours,
    expected,
  )


@pytest.mark.parametrize("kernel, stride, padding, dilation", CASES)
def test_values_and_derivatives(kernel, stride, padding, dilation):
  functions = _both(stride, padding, dilation)
  x, w = _arrays(kernel)
  dx, dw = _arrays(kernel, seed=1)
  _assert_equal(lambda f: f(x, w), functions)
  _assert_equal(lambda f: jax.jvp(f, (x, w), (dx, dw)), functions)

  def gradients(f):
    return jax.grad(lambda x, w: jnp.sum(jnp.sin(f(x, w))), (0, 1))(x, w)

  _assert_equal(gradients, functions)

  def second(f):
    def inner(x, w):
      return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(f(x, w))))(x) ** 2)

    return jax.grad(inner, (0, 1))(x, w)

  _assert_equal(second, functions)


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("kernel, stride, padding, dilation", CASES)
def test_gradients_in_parts_of_the_batch(
  kernel, stride, padding, dilation, outputs, monkeypatch
):
  functions = _both(stride, padding, dilation)
  x, w = _arrays(kernel, batch=6, outputs=outputs)
  cotangent = jnp.sin(functions[0](x, w))
  # Parts of at most three examples, whichever array serves as the weights.
  fewer = min(x.size, cotangent.size) // 6
  monkeypatch.setattr(cpu_convolution, "CACHE_BYTES", 4 * 3 * fewer)

  def gradient(f):
    return jax.vjp(lambda w: f(x, w), w)[1](cotangent)

  _assert_equal(gradient, functions)
  scans = str(jax.make_jaxpr(lambda: gradient(functions[0]))()).count("scan[")
  assert scans == 1


@pytest.mark.parametrize(
  "axes", list(itertools.product([0, 2, None], repeat=2))[:-1]
)
def test_vmap_over_data_or_weights_or_both(axes):
  functions = _both(2, ((1, 1), (1, 1)), 1)
  x, w = _arrays(3)

  def stack(array, axis):
    if axis is None:
      return array
    return jnp.stack([array, 2 * array, array - 1], axis)

  x, w = stack(x, axes[0]), stack(w, axes[1])
  _assert_equal(lambda f: jax.vmap(f, axes)(x, w), functions)


def test_scanned_gradients_have_the_fast_layout():
  f, _ = _both(1, "SAME", 1)
  x, w = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 3, 4, 4))

  def loss(x, w):
    out, _ = lax.scan(lambda x, w: (jnp.tanh(f(x, w)), None), x, w)
    return jnp.sum(out)

  compiled = jax.jit(jax.grad(loss, (0, 1))).lower(x, w).compile().as_text()
  layouts = [
    line.split("dim_labels=")[1].split(",")[0]
    for line in compiled.splitlines()
    if " convolution(" in line
  ]
  assert len(layouts) >= 3
  assert set(layouts) == {"b01f_01io->b01f"}
