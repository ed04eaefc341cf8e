"""Parity with FrEIA: equal weights give equal outputs to 1e-5, both ways.

FrEIA is in the extra `freia`; without it these tests are skipped.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from cinn_jax import bijections as bj
from cinn_jax.models.networks.subnets import Subnet

torch = pytest.importorskip("torch")
freia = pytest.importorskip("FrEIA.modules")

BATCH = 3
CONV = functools.partial(Subnet, widths=(7,), kernels=(3, 1))
DENSE = functools.partial(Subnet, widths=(8, 6), kernels=(1, 1, 1))


def _normal(seed, shape):
  values = np.random.default_rng(seed).normal(size=(BATCH, *shape))
  return values.astype(np.float32)


def _channels_first(values):
  return torch.tensor(np.moveaxis(values, -1, 1).copy())


def _run_freia(module, value, conds, rev):
  """Returns FrEIA's (output, log-det [B]), in our layout."""
  options = {"c": [_channels_first(c) for c in conds]} if conds else {}
  with torch.no_grad():
    (out,), log_det = module([_channels_first(value)], rev=rev, **options)
  log_det = np.broadcast_to(np.asarray(log_det, np.float32), (BATCH,))
  return np.moveaxis(out.numpy(), 1, -1), log_det


def _assert_parity(ours, variables, theirs, shape, cond_shapes=()):
  conds = [_normal(50 + i, cond) for i, cond in enumerate(cond_shapes)]
  cond = tuple(map(jnp.asarray, conds)) or None
  value = _normal(1, shape)
  for method in ("forward", "inverse"):
    out, log_det = ours.apply(
      variables, jnp.asarray(value), cond, method=method
    )
    expected = _run_freia(theirs, value, conds, rev=method == "inverse")
    np.testing.assert_allclose(out, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_det, expected[1], rtol=1e-5, atol=1e-5)
    value = _normal(2, out.shape[1:])


def _dims(shape):
  """Converts our shape of one example to FrEIA's: channels first."""
  return (shape[-1], *shape[:-1])


def _torch_subnet(kernels, widths):
  """Returns a constructor, as FrEIA takes it, of the network in `Subnet`."""

  def build(channels_in, channels_out):
    layers = []
    for kernel, width in zip(kernels, [*widths, channels_out], strict=True):
      if kernel is None:
        layers.append(torch.nn.Linear(channels_in, width))
      else:
        same = kernel // 2
        layers.append(torch.nn.Conv2d(channels_in, width, kernel, padding=same))
      layers.append(torch.nn.ReLU())
      channels_in = width
    return torch.nn.Sequential(*layers[:-1])

  return build


def _subnet_params(sequential, channels, cond_channels):
  """Converts weights to ours; splits the first kernel by the layer's inputs."""
  layers = [m for m in sequential if not isinstance(m, torch.nn.ReLU)]
  params = {}
  for k, layer in enumerate(layers):
    weight = layer.weight.detach().numpy()  # [out, in, (height, width)]
    kernel = weight.transpose(*range(2, weight.ndim), 1, 0)
    bias = layer.bias.detach().numpy()
    params[f"layer_{k}"] = {"kernel": jnp.asarray(kernel), "bias": bias}
  kernel = params["layer_0"]["kernel"]
  cuts = np.cumsum([channels, *cond_channels])
  own, *others = jnp.split(kernel, cuts[:-1], axis=-2)
  params["layer_0"]["kernel"] = own
  for i, other in enumerate(others):
    params[f"condition_{i}"] = {"kernel": other}
  return params


COUPLINGS = {
  "conv": ((4, 6, 5), ((4, 6, 3),)),
  "conv_two_conditions": ((4, 4, 4), ((4, 4, 3), (4, 4, 2))),
  "conv_unconditional": ((4, 4, 4), ()),
  "dense": ((7,), ((5,),)),
}


def _torch_coupling(block, shape, cond_shapes, alpha):
  torch.manual_seed(0)
  is_dense = len(shape) == 1
  if is_dense:
    subnet = _torch_subnet(kernels=(None,) * 3, widths=(8, 6))
  else:
    subnet = _torch_subnet(kernels=(3, 1), widths=(7,))
  theirs = block(
    [_dims(shape)],
    [_dims(cond) for cond in cond_shapes],
    subnet_constructor=subnet,
    clamp=alpha,
    # By default FrEIA rounds half of the channels, sometimes up.
    split_len=shape[-1] // 2,
  )
  with torch.no_grad():
    for parameter in theirs.parameters():
      parameter *= 2.0  # far enough from the identity
  return theirs, DENSE if is_dense else CONV


@pytest.mark.parametrize("name", COUPLINGS)
def test_two_sided_coupling(name):
  shape, cond_shapes = COUPLINGS[name]
  theirs, subnet = _torch_coupling(
    freia.GLOWCouplingBlock, shape, cond_shapes, alpha=1.9
  )
  first = shape[-1] // 2
  conds = [cond[-1] for cond in cond_shapes]
  params = {
    "net_1": _subnet_params(theirs.subnet1, first, conds),
    "net_2": _subnet_params(theirs.subnet2, shape[-1] - first, conds),
  }
  ours = bj.AffineCoupling(subnet, alpha=1.9, clamp="freia_2021")
  _assert_parity(ours, {"params": params}, theirs, shape, cond_shapes)


@pytest.mark.parametrize("name", COUPLINGS)
def test_one_sided_coupling(name):
  shape, cond_shapes = COUPLINGS[name]
  theirs, subnet = _torch_coupling(
    freia.AffineCouplingOneSided, shape, cond_shapes, alpha=0.7
  )
  conds = [cond[-1] for cond in cond_shapes]
  params = {"net_1": _subnet_params(theirs.subnet, shape[-1] // 2, conds)}
  ours = bj.AffineCoupling(subnet, sides=1, alpha=0.7, clamp="freia_2021")
  _assert_parity(ours, {"params": params}, theirs, shape, cond_shapes)


def _nice(dims, cond_dims, *, clamp, **options):
  del clamp  # NICE has none
  return freia.NICECouplingBlock(dims, cond_dims, **options)


# FrEIA's block, our coupling, and FrEIA's networks for our net_1 and net_2.
KINDS = {
  "additive": (_nice, bj.AdditiveCoupling, ("G", "F")),
  "gin": (freia.GINCouplingBlock, bj.GINCoupling, ("subnet1", "subnet2")),
  "real_nvp": (
    freia.RNVPCouplingBlock,
    bj.RealNVPCoupling,
    (("subnet_s1", "subnet_t1"), ("subnet_s2", "subnet_t2")),
  ),
}


@pytest.mark.parametrize("name", ["conv_two_conditions", "dense"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_couplings(kind, name):
  block, ours, networks = KINDS[kind]
  shape, cond_shapes = COUPLINGS[name]
  theirs, subnet = _torch_coupling(block, shape, cond_shapes, alpha=1.1)
  first = shape[-1] // 2
  conds = [cond[-1] for cond in cond_shapes]
  params = {}
  for net, names, channels in zip(
    ("net_1", "net_2"), networks, (first, shape[-1] - first), strict=True
  ):
    if isinstance(names, str):
      params[net] = _subnet_params(getattr(theirs, names), channels, conds)
    else:
      params[net] = {
        part: _subnet_params(getattr(theirs, name), channels, conds)
        for part, name in zip(("scale", "shift"), names, strict=True)
      }
  options = {} if kind == "additive" else {"alpha": 1.1, "clamp": "freia_2021"}
  coupling = ours(subnet, **options)
  _assert_parity(coupling, {"params": params}, theirs, shape, cond_shapes)


@pytest.mark.parametrize("rebalance", [0.5, 1.0])
@pytest.mark.parametrize("order", ["wavelet", "channel"])
def test_haar(order, rebalance):
  shape = (4, 6, 3)
  theirs = freia.HaarDownsampling(
    [_dims(shape)], order_by_wavelet=order == "wavelet", rebalance=rebalance
  )
  _assert_parity(bj.Haar(rebalance, order), {}, theirs, shape)


@pytest.mark.parametrize("order", ["position", "channel"])
def test_squeeze(order):
  shape = (4, 6, 3)
  theirs = freia.IRevNetDownsampling(
    [_dims(shape)], legacy_backend=order == "position"
  )
  _assert_parity(bj.Squeeze(order), {}, theirs, shape)


@pytest.mark.parametrize("shape", [(11,), (2, 3, 8)])
def test_seeded_permutation(shape):
  state = np.random.get_state()
  theirs = freia.PermuteRandom([_dims(shape)], seed=5)
  np.random.set_state(state)  # FrEIA seeds the global generator
  ours = bj.Permutation(seed=5)
  variables = ours.init({}, jnp.zeros((BATCH, *shape)))
  _assert_parity(ours, variables, theirs, shape)


def test_orthogonal():
  shape = (3, 2, 6)
  draws = np.random.default_rng(3).normal(size=(6, 6))
  matrix = np.linalg.qr(draws)[0].astype(np.float32)
  theirs = freia.Fixed1x1Conv([_dims(shape)], M=torch.tensor(matrix))
  variables = {"constants": {"matrix": jnp.asarray(matrix)}}
  _assert_parity(bj.Orthogonal(), variables, theirs, shape)
