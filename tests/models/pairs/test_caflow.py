"""CAFLOW and its relatives: sizes, initial values and the cost of sampling.

tests/exact/test_paired_flows.py checks their likelihoods and dependences.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax import likelihood, make_flow
from cinn_jax.experiment.build import build_model
from cinn_jax.models.networks.taming import TamedSubnet
from cinn_jax.models.pairs.steps import StepOptions, steps
from cinn_jax.runtime.flops import flops
from tests.support import pairs
from tests.support.refusing import assert_refused

X = pairs.images(0, (3, 8, 8, 3), np.float32)
COND = pairs.images(1, (3, 8, 8, 3), np.float32)


def _array(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


@functools.cache
def _published(name, **options):
  model, image = build_model(name, **options), _array(1, 64, 64, 3)
  (z, _), variables = jax.eval_shape(
    model.init_with_output, jax.random.key(0), image, image
  )
  return z, variables["params"]


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_published_caflow_parameter_counts():
  _, params = _published("caflow")
  assert _count(params) == 35_229_968
  assert _count(params["target_flow"]) == 2_988_336
  assert _count(params["condition_flow"]) == 2_988_336
  flows = params["latent_flows"]
  assert _count(flows) == 29_253_296
  # Of each G_k first its own block, then the blocks of coarser scales.
  own = [_count(flows[f"own_{k}"]) for k in range(4)]
  assert own == [327_728, 648_416, 1_320_896, 6_226_688]
  for m, count in enumerate([869_600, 1_763_264, 5_444_480]):
    blocks = flows[f"others_{m}"]
    assert [_count(block) for block in blocks.values()] == [count] * (m + 1)


def test_dual_glow_plus_is_caflow_without_coarser_scales():
  _, params = _published("dual_glow_plus")
  assert _count(params) == 14_500_400
  ours = _published("caflow")[1]["latent_flows"]
  for name, block in params["latent_flows"].items():
    assert _count(block) == _count(ours[name])


def test_shared_variant_has_one_block_per_coarser_scale():
  flows = _published("caflow", shared=True)[1]["latent_flows"]
  flows = jax.tree.map(lambda leaf: leaf.shape, flows)
  own = [flows.pop(f"own_{k}")["bijection"] for k in range(4)]
  others = [flows.pop(f"others_{m}")["bijection"] for m in range(3)]
  assert not flows
  for block, depth in [
    *((block, 16) for block in own),
    *((block["bijection"], 12) for block in others),
  ]:
    assert block["parts_1"]["block"]["parts_0"]["bias"][0] == depth


def test_latents_add_up_to_the_image_in_their_order():
  z, _ = _published("caflow")
  coarser = [(8, 8, 24), (4, 4, 48), (2, 2, 192)]
  assert [leaf.shape[1:] for leaf in z] == [
    (16, 16, 12),
    *coarser,
    *coarser,
    *coarser[1:],
    (2, 2, 384),
  ]
  assert sum(leaf.size for leaf in z) == 64 * 64 * 3
  z, _ = _published("dual_glow_plus")
  shapes = [(16, 16, 24), (8, 8, 48), (4, 4, 96), (2, 2, 384)]
  assert [leaf.shape[1:] for leaf in z] == shapes


@pytest.mark.parametrize("coupling", ["affine", "additive"])
def test_new_block_only_normalizes_and_rotates(coupling):
  block = steps(
    2,
    StepOptions(hidden=4, transitions=1, coupling=coupling),
    conditional=True,
  )
  x = np.random.default_rng(3).normal(1, 3, (4, 4, 4, 6)).astype(np.float32)
  cond = pairs.images(4, (4, 4, 4, 2), np.float32)
  init = jax.jit(block.init_with_output)
  (z, log_det), _ = init(jax.random.key(0, impl="rbg"), x, cond)
  # A rotation keeps the total variance of six channels of variance 1.
  flat = np.asarray(z).reshape(-1, 6)
  np.testing.assert_allclose(flat.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(flat.var(0).sum(), 6, rtol=1e-3)
  scales = np.log(np.asarray(x).reshape(-1, 6).std(0))
  np.testing.assert_allclose(log_det, -16 * scales.sum(), rtol=0.01)
  again = init(jax.random.key(0, impl="rbg"), x, 1 - cond)[0][0]
  np.testing.assert_array_equal(again, z)


def _run_sowing(model, variables, method="forward"):
  apply = functools.partial(
    model.apply, method=method, mutable=["auxiliary_losses"]
  )
  return jax.jit(apply)(variables, X, COND)


@pytest.mark.slow
def test_condition_weight_changes_the_auxiliary_loss_alone():
  light, heavy = (
    pairs.make("dual_glow", condition_weight=weight) for weight in (0.0, 0.25)
  )
  variables = pairs.draw(light, 5, X, COND)
  (z, log_det), nothing = _run_sowing(light, variables)
  assert not nothing
  weighted, sown = _run_sowing(heavy, variables)
  np.testing.assert_array_equal(weighted[1], log_det)
  jax.tree.map(np.testing.assert_array_equal, weighted[0], z)
  [loss] = sown["auxiliary_losses"]["condition"]
  alone = {"params": variables["params"]["condition_flow"]}
  parts = likelihood.log_prob(*heavy.condition_flow.apply(alone, COND))
  expected = -0.25 * parts.total / math.prod(COND.shape[1:])
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  # On its own, the target has its own prior, and the condition full weight.
  (latents, log_det), sown = _run_sowing(light, variables, "unconditional")
  own = {"params": variables["params"]["target_flow"]}
  expected_latents, expected_log_det = light.target_flow.apply(own, X)
  np.testing.assert_allclose(latents[0], expected_latents[0], atol=1e-5)
  np.testing.assert_allclose(log_det, expected_log_det, rtol=1e-5)
  [loss] = sown["auxiliary_losses"]["condition"]
  np.testing.assert_allclose(loss, 4 * expected, rtol=1e-5)


@pytest.mark.slow
def test_temperature_0_gives_one_sample():
  model = pairs.make("caflow")
  flow = make_flow(model, (8, 8, 3), (8, 8, 3))
  variables = pairs.draw(model, 5, X, COND)
  draw = jax.jit(
    lambda key, t: flow.sample(variables, key, COND, 2, temperature=t)[0]
  )
  keys = [jax.random.key(seed) for seed in (0, 1)]
  first, again = (draw(key, jnp.zeros(3)) for key in keys)
  np.testing.assert_array_equal(first, again)
  np.testing.assert_array_equal(first[:, 0], first[:, 1])
  # One temperature per latent: only the coarsest varies.
  varied, other = (draw(key, jnp.array([0.0, 0.0, 1.0])) for key in keys)
  assert np.abs(varied - other).max() > 1e-3
  # The logit's range is slightly larger than the data's.
  assert ((varied > -1e-5) & (varied < 1 + 1e-5)).all()


@pytest.mark.slow
def test_samples_share_one_encoding_of_the_condition():
  model = pairs.make("caflow", condition_depth=24)
  flow = make_flow(model, (8, 8, 3), (8, 8, 3))
  variables = jax.eval_shape(model.init, jax.random.key(0), X, COND)
  key = jax.eval_shape(lambda: jax.random.key(0))

  def cost(samples):
    draw = functools.partial(flow.sample, num_samples=samples)
    return flops(draw, variables, key, _array(1, 8, 8, 3))

  once = flops(
    lambda v, y: model.condition_flow.apply(v, y),
    {"params": variables["params"]["condition_flow"]},
    _array(1, 8, 8, 3),
  )
  per_sample = (cost(9) - cost(1)) / 8
  assert cost(1) > once > 2 * per_sample


@pytest.mark.slow
@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_compile_time_does_not_grow_with_depth(method):
  def lowered_length(depth):
    model = pairs.make("caflow", depth=depth, latent_depths=(depth, depth))
    (z, _), variables = jax.eval_shape(
      model.init_with_output, jax.random.key(0), X, COND
    )
    value = X if method == "forward" else z
    apply = functools.partial(model.apply, method=method)
    return len(jax.jit(apply).lower(variables, value, COND).as_text())

  shallow, deep = lowered_length(2), lowered_length(9)
  assert abs(deep - shallow) < 0.02 * shallow


@pytest.mark.parametrize(
  "kind", ["caflow", pytest.param("dual_glow", marks=pytest.mark.slow)]
)
def test_gradients_reach_all_parameters_and_the_condition(kind):
  model = pairs.make(kind, channels=1, condition_channels=1)
  x, cond = X[..., :1], COND[..., :2]
  variables = pairs.draw(model, 6, x, cond)

  @jax.jit
  @functools.partial(jax.grad, argnums=(0, 1))
  def gradients(variables, cond):
    return jnp.mean(likelihood.log_prob(*model.apply(variables, x, cond)).total)

  of_variables, of_cond = gradients(variables, cond)
  for path, leaf in jax.tree.leaves_with_path(of_variables):
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 0, path
  # The image's and the mask's.
  assert (np.abs(of_cond).max(0) > 0).all()


@pytest.mark.parametrize(
  "kind, x, cond, says",
  [
    (
      "caflow",
      (2, 24, 36, 3),
      (2, 24, 36, 3),
      ["CAFLOW with 2 levels", "multiples of 8", "24x36", "24x32 or 24x40"],
    ),
    ("dual_glow", (2, 8, 6, 3), (2, 8, 6, 3), ["multiples of 4", "8x4 or 8x8"]),
    (
      "dual_glow_plus",
      (2, 16, 16, 3),
      (2, 8, 8, 3),
      ["the target's size [16, 16]", "got [8, 8]"],
    ),
    ("caflow", (2, 8, 8, 3), (2, 8, 8, 1), ["models 3 channels", "8, 8, 1"]),
    ("caflow", (2, 8, 8, 3), (2, 5), ["a condition image", "(2, 5)"]),
  ],
)
def test_bad_shapes_raise(kind, x, cond, says):
  assert_refused(pairs.make(kind), "forward", _array(*x), _array(*cond), says)


def _modules(module):
  """Yields a module and all bijections inside it."""
  yield module
  for field in dataclasses.fields(module):
    value = getattr(module, field.name)
    for entry in value if isinstance(value, (list, tuple)) else [value]:
      if isinstance(entry, bj.Bijection):
        yield from _modules(entry)


def test_step_settings_reach_every_part():
  def parts_of(kind, **options):
    parts = list(_modules(pairs.make("caflow", **options)))
    return [part for part in parts if isinstance(part, kind)]

  tight = {"clamp": "contracting", "alpha": 0.693, "latent_alpha": 0.3}
  affine = (bj.AffineCoupling, bj.AffineInjector)
  clamps = sorted(
    (part.clamp, part.alpha) for part in parts_of(affine, **tight)
  )
  # Three blocks with an injector each, and two flows with two scales.
  latent, outer = ("contracting", 0.3), ("contracting", 0.693)
  assert clamps == [latent] * 6 + [outer] * 4
  assert not parts_of(affine, coupling="additive")
  additive = (bj.AdditiveCoupling, bj.AdditiveInjector)
  assert len(parts_of(additive, coupling="additive")) == 10
  # One in each stack of transitions and of steps.
  assert len(parts_of(bj.Cayley, mixing="cayley")) == 14
  assert not parts_of(bj.FullConv1x1, mixing="cayley")
  nets = [part.subnet() for part in parts_of(affine, far=2.5)]
  assert len(nets) == 10
  for net in nets:
    assert isinstance(net, TamedSubnet) and net.far == 2.5 and net.condition


def test_unknown_options_raise():
  with pytest.raises(ValueError, match="'affine' or 'additive', got 'cubic'"):
    pairs.make("caflow", coupling="cubic")
  with pytest.raises(ValueError, match="there are permutation, orthogonal"):
    pairs.make("dual_glow", mixing="none")


@pytest.mark.parametrize("name", ["caflow", "dual_glow_plus", "dual_glow"])
def test_unknown_setting_raises_the_sentence_of_build(name):
  with pytest.raises(ValueError, match=r"settings of model .* 'depht'\): take"):
    build_model(name, depht=3)
  # Settings that are passed on to both flows are known.
  build_model(name, depth=3, condition_logit_alpha=0.05)
