"""Token flows: their start, conditions, samplers, precision and sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import make_flow
from cinn_jax.models.networks.token_condition import TokenCondition
from cinn_jax.models.networks.token_networks import CausalTransformer
from cinn_jax.models.networks.transformer import Layers
from cinn_jax.models.token_flow import KINDS, token_flow
from tests.support import slow, token_flows
from tests.support.drawing import draw_like, draw_variables, normal

KEY = jax.random.key(0, impl="rbg")  # compiles fast


def _close(actual, expected, atol):
  np.testing.assert_allclose(actual, expected, rtol=atol, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_starts_as_the_tokens(kind):
  options = {"rotation": False, "transform": "none"}
  module, (x, cond) = token_flows.build(kind, **options), token_flows.data()
  (z, log_det), _ = jax.jit(module.init_with_output)(KEY, x, cond)
  _close(log_det, 0, 1e-6)
  tokens, _ = bj.Squeeze().apply({}, x)
  if kind == "coupling":  # It permutes the numbers of a token.
    z, tokens = np.sort(z), np.sort(tokens)
  _close(z, tokens, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind, blocks", [("autoregressive", 3), (KINDS[1], 2)])
def test_round_trip_in_float32(kind, blocks):
  case = token_flows.case(kind, scale=0.05, blocks=blocks, mean=0.5, std=0.25)
  module, variables, x, cond = case
  z, log_det = token_flows.jitted(module)(variables, x, cond)
  assert z.shape == (2, 2, 2, 8)
  back, other = token_flows.jitted(module, "inverse")(variables, z, cond)
  _close(back, x, 1e-4)
  _close(other, -log_det, 1e-3)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
def test_orders_take_turns(blocks):
  flow = token_flows.build("autoregressive", blocks=blocks).bijection
  orders = [
    part.reverse
    for stack in flow.parts[1:]
    for _ in range(stack.depth)
    for part in stack.block.parts[::2]
  ]
  assert orders == [k % 2 == 1 for k in range(blocks)]
  # No more than two stacks, however many blocks.
  assert len(flow.parts) <= 3


STEMS = {"autoregressive": "convolutions", "coupling": "patches"}


@pytest.mark.parametrize("kind", slow.all_but(["coupling"], KINDS))
def test_every_latent_depends_on_all_of_the_condition(kind):
  stem = STEMS[kind]
  module, variables, x, cond = token_flows.case(kind, condition_stem=stem)

  @jax.jit
  @jax.jacrev
  def dependence(cond):
    return module.apply(variables, x[:1], cond)[0].sum((0, -1))

  # [h, w, 1, H, W, 1] to [h, w, h, w], the largest pixel of each token
  tokens = np.abs(dependence(cond[:1]))[:, :, 0, :, :, 0]
  tokens = tokens.reshape(2, 2, 2, 4, 2, 4).max((3, 5))
  assert tokens.min() > 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_weights_the_condition_does_not_matter(kind):
  stem = STEMS[kind]
  module, variables, x, cond = token_flows.case(kind, condition_stem=stem)

  def cut(path, leaf):
    is_weight = "condition_0" in jax.tree_util.keystr(path)
    return leaf * (0 if is_weight else 1)

  params = jax.tree.map_with_path(cut, variables["params"])
  run = token_flows.jitted(module)
  z, other = (
    run({**variables, "params": params}, x, c)[0] for c in (cond, cond + 1)
  )
  np.testing.assert_array_equal(z, other)


def test_without_a_condition_it_is_ignored():
  module, variables, x, cond = token_flows.case("coupling", conditioned=False)
  assert set(variables["params"]) == {"bijection"}
  run = token_flows.jitted(module)
  np.testing.assert_array_equal(
    run(variables, x, cond)[0], run(variables, x, None)[0]
  )


ADDED = {
  "lightness": (8, 8, 1),
  "class": (5,),
  "features": {2: (2, 2, 6), 4: (4, 4, 3)},
  "hints": (4, 4, 3),
}


def test_added_entries_start_at_zero_and_matter_later():
  net = TokenCondition((2, 2), 8, 1, 2, "patches")
  shapes, tree = jax.tree.flatten(ADDED, is_leaf=lambda n: type(n) is tuple)
  leaves = [normal(k, (2, *s), np.float32) for k, s in enumerate(shapes)]
  start = jax.jit(net.init)(KEY, jax.tree.unflatten(tree, leaves))
  random = {"params": draw_like(start["params"], 2, np.float32, scale=0.3)}
  apply = jax.jit(net.apply)
  for i, leaf in enumerate(leaves):
    changed = [*leaves[:i], leaf[::-1], *leaves[i + 1 :]]
    first, later = (
      np.abs(
        apply(v, jax.tree.unflatten(tree, changed))
        - apply(v, jax.tree.unflatten(tree, leaves))
      ).max()
      for v in (start, random)
    )
    is_lightness = leaf.shape == (2, 8, 8, 1)
    assert (first > 1e-3) == is_lightness
    assert later > 1e-3


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (3, 5), (5, 8), (9, 8)])
@pytest.mark.parametrize("stem", ["patches", "convolutions"])
def test_pictures_of_any_size_are_conditions(stem, size):
  net = TokenCondition((4, 2), 8, 1, 2, stem)
  picture = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
  out, _ = jax.eval_shape(net.init_with_output, KEY, (picture, picture))
  assert out.shape == (2, 4, 2, 8)


def test_pixels_reach_the_token_in_their_place():
  net = TokenCondition((2, 2), 8, 1, 2, "patches")
  picture = np.zeros((1, 4, 4, 1), np.float32)
  variables = jax.eval_shape(net.init, KEY, picture)
  # Without a transformer's branches and positions, tokens keep apart.
  params = jax.tree.map(
    lambda leaf: np.zeros(leaf.shape, np.float32), variables["params"]
  )
  params["picture_0"]["kernel"] = normal(0, (4, 8), np.float32)
  params["norm"]["scale"] = np.ones(8, np.float32)
  picture[0, 1, 2] = 1
  tokens = net.apply({"params": params}, picture)
  assert [bool(np.any(t)) for t in tokens[0].reshape(4, 8)] == [
    *(False, True, False, False)
  ]


def _block(**options):
  network = functools.partial(CausalTransformer, 8, 2, heads=2)
  return bj.AutoregressiveBlock(network, **options)


TOKENS = normal(8, (2, 2, 3, 4), np.float32)


@functools.cache
def _variables():
  return draw_variables(_block(), 1, TOKENS)


@pytest.mark.parametrize("reverse", [False, True])
def test_cached_inverse_is_the_one_by_full_passes(reverse):
  block = _block(reverse=reverse)
  x, log_det = token_flows.jitted(block, "inverse")(_variables(), TOKENS, None)
  forward = token_flows.jitted(block)
  z, tokens = TOKENS.reshape(2, 6, 4), np.zeros((2, 6, 4), np.float32)
  for i in reversed(range(6)) if reverse else range(6):
    # Latent i is linear in token i, given the tokens before it.
    zero, one = (
      np.asarray(forward(_variables(), trial.reshape(x.shape), None)[0])
      for trial in (tokens, tokens + (np.arange(6) == i)[None, :, None])
    )
    zero, one = (out.reshape(2, 6, 4)[:, i] for out in (zero, one))
    tokens[:, i] = (z[:, i] - zero) / (one - zero)
  assert np.abs(x - TOKENS).max() > 0.5
  _close(x, tokens.reshape(x.shape), 1e-5)
  _close(log_det, -forward(_variables(), x, None)[1], 1e-5)


@pytest.mark.parametrize(
  "options",
  [
    {"sampler": "jacobi", "tolerance": 0.0},
    {"sampler": "jacobi"},
    # Of six tokens, segments of four and two.
    {"sampler": "gauss_seidel", "segment": 4, "tolerance": 0.0},
    {"sampler": "gauss_seidel", "reverse": True},
    # One sweep each is enough.
    {"sampler": "gauss_seidel", "segment": 1, "tolerance": 1e3},
  ],
)
def test_sweeps_are_the_inverse(options):
  by_scan = _block(reverse=options.get("reverse", False))
  x, log_det = token_flows.jitted(by_scan, "inverse")(
    _variables(), TOKENS, None
  )
  run = token_flows.jitted(_block(**options), "inverse")
  swept, log_det_swept = run(_variables(), TOKENS, None)
  _close(swept, x, 1e-4)
  _close(log_det_swept, log_det, 1e-4)


def test_jacobi_stops_within_the_tolerance():
  loose = _block(sampler="jacobi", tolerance=1e3)
  run = token_flows.jitted(loose, "inverse")
  swept, _ = run(_variables(), TOKENS, None)
  # One sweep makes the first token exact, and no other.
  x, _ = token_flows.jitted(_block(), "inverse")(_variables(), TOKENS, None)
  error = np.abs(swept - x).reshape(2, 6, 4).max((0, 2))
  assert error[0] < 1e-5 and error[1:].min() > 1e-3


@pytest.mark.slow
def test_samples_by_vmap_are_those_of_a_loop():
  module, variables, _, cond = token_flows.case("autoregressive", scale=0.1)
  flow = make_flow(module, (4, 4, 2), cond.shape[1:])
  key = jax.random.key(4)
  x, log_prob = flow.sample(variables, key, cond, num_samples=8)
  z = jax.random.normal(jax.random.split(key, 1)[0], (8, 2, 2, 2, 8))
  run = token_flows.jitted(module, "inverse")
  for k in range(8):
    _close(x[:, k], run(variables, z[k], cond)[0], 1e-4)
  expected = flow.log_prob(variables, x[:, 7], cond).total
  _close(log_prob[:, 7], expected, 1e-3)


def test_bfloat16_keeps_the_round_trip_of_couplings():
  module, variables, x, cond = token_flows.case(
    "coupling", compute_dtype="bfloat16"
  )
  z, log_det = token_flows.jitted(module)(variables, x, cond)
  assert z.dtype == log_det.dtype == jnp.float32
  back, _ = token_flows.jitted(module, "inverse")(variables, z, cond)
  _close(back, x, 1e-4)


def test_remat_of_layers_changes_no_gradient():
  tokens = normal(0, (1, 3, 8), np.float32)
  variables = draw_variables(Layers(2, 2), 1, tokens)

  def gradient(remat):
    def loss(params):
      return jnp.sum(Layers(2, 2, remat=remat).apply(params, tokens)[0] ** 2)

    lowered = jax.jit(jax.grad(loss)).lower(variables)
    return lowered.compile()(variables), lowered.as_text()

  (stored, text), (other, text_other) = gradient(False), gradient(True)
  assert text != text_other
  jax.tree.map(lambda a, b: _close(a, b, 1e-4), stored, other)


@pytest.mark.parametrize("kind", KINDS)
def test_remat_reaches_all_layers(kind):
  model = token_flows.build(kind, remat_layers=True)
  name = "subnet" if kind == "coupling" else "network"
  parts = model.bijection.parts[1].block.parts
  nets = [getattr(part, name) for part in parts if hasattr(part, name)]
  assert nets and all(net.keywords["remat"] for net in nets)
  assert model.condition_net.remat


@pytest.mark.parametrize(
  "option", [{"blocks": 30}, {"layers": 20}, {"condition_layers": 20}]
)
def test_program_does_not_grow_with_depth(option):
  def size(**options):
    module = token_flows.build("autoregressive", **options)
    x, cond = token_flows.data()
    variables = jax.eval_shape(module.init, KEY, x, cond)
    return len(jax.jit(module.apply).lower(variables, x, cond).as_text())

  assert size(**option) < 1.05 * size()


@pytest.mark.parametrize(
  "options, message",
  [
    ({"kind": "diffusion"}, "autoregressive, coupling, got 'diffusion'"),
    ({"patch": 3}, "divides 32x32, got 3"),
    ({"size": (32, 30)}, "divides 32x30, got 4"),
    ({"head_width": 48}, "divides its width 64, got 48"),
    ({"blocks": 0}, "1 block and 1 layer or more, got 0, 3"),
  ],
)
def test_bad_options_raise(options, message):
  with pytest.raises(ValueError, match=message):
    token_flow(**options)


@pytest.mark.parametrize(
  "cond, message",
  [
    ({}, "no condition: .*conditioned=False"),
    (np.zeros((2, 0)), "got shape .2, 0.; for none, .*conditioned=False"),
    (np.zeros((2, 3, 3)), "got shape .2, 3, 3."),
    ({"hints": np.zeros((2, 3))}, "hints must be pictures"),
  ],
)
def test_bad_conditions_raise(cond, message):
  net = TokenCondition((2, 2), 8, 1, 2)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(net.init, KEY, cond)


def test_unknown_stem_raises():
  net = TokenCondition((2, 2), 8, 1, 2, "pixels")
  with pytest.raises(ValueError, match="there are convolutions, patches"):
    jax.eval_shape(net.init, KEY, np.zeros((2, 4, 4, 1)))
