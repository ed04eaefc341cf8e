"""A conditional flow as a tuple of pure functions."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cinn_jax import likelihood
from cinn_jax.bijections import (
  COLLECTIONS,
  REPORTS,
  Array,
  Bijection,
  PyTree,
  architecture,
  eager,
  standardization,
)
from cinn_jax.bijections.arguments import check_module, check_rows, checked
from cinn_jax.bijections.initialization import initialize
from cinn_jax.bijections.shapes import (
  Shapes,
  check_cond_shape,
  check_latents,
  check_shape,
  read_cond_shape,
)
from cinn_jax.likelihood import StudentT

# Number of functions among a flow's entries, which come first.
_FUNCTIONS = 6


class Objective(NamedTuple):
  """Training and scores of a model other than a flow, see `models.comparators`.

  Attributes:
    title: Name of the kind of model, for messages: "a regression".
    loss: `(variables, rng, x, cond) -> (loss, terms)`. `terms` are scalars for
      the log; "bits_per_dim" among them is an upper bound of bits/dim.
    bound: `(variables, rng, x, cond) -> nats [B]`, one draw whose average
      exp(nats) over rng is p(x | cond), so that its mean is a lower bound of
      ln p(x | cond); None for a model without a likelihood.
  """

  title: str
  loss: Callable
  bound: Callable | None = None


class Flow(NamedTuple):
  """The pure functions of one flow.

  Every function takes a batch: data `x` [B, *event_shape] and a condition
  `cond`, a pytree of arrays [B, ...]. A flow without a condition is given None
  or nothing. `variables` is what `init` returns. The functions may be jitted,
  differentiated and mapped over. Calls outside of `jax.jit` are compiled too,
  once per shape, so a loop may call them as they are. A flow from `make_flow`
  can be pickled.

  Attributes:
    init: `(rng, x, cond, batch_size=None) -> variables`. `ActNorm` starts from
      all rows of x. Networks see at most `batch_size` of them at a time, so
      that many rows take the memory of a few; None for all.
    forward: `(variables, x, cond) -> (z, log_det [B])`, data to latent; z is
      an array or a tuple of arrays, one per level, finest first.
    inverse: `(variables, z, cond) -> (x, log_det [B])`, latent to data.
    log_prob: `(variables, x, cond) -> likelihood.LogProb`, nats per example.
    sample: `(variables, rng, cond, num_samples=1, temperature=1.0) ->
      (x [B, num_samples, ...], log_prob [B, num_samples])`. The temperature
      scales the latents; it is one number, or one per level.
      log_prob is ln p(x | cond) in nats. Without a condition, B is 1.
    latent_shapes: `(variables, cond) -> ` shapes and types of one batch of
      latents.
    module: The Flax module, for training.
    event_shape: Shape of one example, without the batch.
    cond_shape: Shape of one condition, without the batch, or a pytree of
      shapes; None if any condition is accepted.
    objective: None for a flow. A model that is compared with flows says here
      how it is trained; its `forward` and `log_prob` raise ValueError, and the
      log_prob of its samples is NaN.
    base: Distribution of the latents; None is N(0, I).

  Raises:
    ValueError: by every function, if x, cond or the latents have the wrong
      shape, or x holds integers. The message gives the right shape.
  """

  init: Callable
  forward: Callable
  inverse: Callable
  log_prob: Callable
  sample: Callable
  latent_shapes: Callable
  module: Bijection
  event_shape: tuple[int, ...]
  cond_shape: Shapes | None = None
  objective: Objective | None = None
  base: StudentT | None = None

  def __reduce__(self) -> tuple[Any, ...]:
    names = [getattr(part, "__qualname__", "") for part in self[:_FUNCTIONS]]
    if not all(name.startswith("make_flow.") for name in names):
      return Flow._make, (tuple(self),)
    # Activations such as jax.nn.relu cannot be pickled, but have names.
    described = architecture.describe(self.module, foreign=lambda part: part)
    shapes = self.event_shape, self.cond_shape
    return _unpickle, (described, *shapes, self.base)


def _unpickle(described, event_shape, cond_shape, base=None):
  module = architecture.build(described)
  return make_flow(module, event_shape, cond_shape, base=base)


def make_flow(
  module: Bijection,
  event_shape: tuple[int, ...],
  cond_shape: Shapes | None = None,
  *,
  base: StudentT | None = None,
) -> Flow:
  """Builds a `Flow` from a bijection and the shape of one example.

  >>> import jax
  >>> from cinn_jax import make_flow, vector_flow
  >>> flow = make_flow(vector_flow(3, blocks=2, hidden=(16,)), (3,))
  >>> x = jax.random.normal(jax.random.key(0), (5, 3))
  >>> cond = jax.random.normal(jax.random.key(1), (5, 2))
  >>> variables = flow.init(jax.random.key(2), x, cond)
  >>> z, log_det = flow.forward(variables, x, cond)
  >>> z.shape, log_det.shape
  ((5, 3), (5,))
  >>> x, log_prob = flow.sample(
  ...   variables, jax.random.key(3), cond, num_samples=4
  ... )
  >>> x.shape, log_prob.shape
  ((5, 4, 3), (5, 4))

  Args:
    module: A bijection from `cinn_jax.bijections` or `cinn_jax.models`.
    event_shape: Shape of one x, without the batch: (H, W, C) for a picture.
    cond_shape: Shape of one condition, without the batch, such as (64, 64, 1),
      or a pytree of shapes. If it is given, every function checks conditions;
      otherwise only couplings do.
    base: Distribution of the latents: None for N(0, I), or
      `cinn_jax.StudentT(freedom)` for data with heavy tails or outliers.

  Raises:
    ValueError: for arguments of another kind.
  """
  event_shape = check_module(module, event_shape)
  if base is not None and not isinstance(base, StudentT):
    raise ValueError(
      "base must be None, for N(0, I), or StudentT(freedom), got"
      f" {type(base).__name__}."
    )
  if cond_shape is not None:
    cond_shape = read_cond_shape(cond_shape)

  def init(rng, x, cond=None, batch_size=None):
    check(x, cond)
    variables = initialize(module, rng, x, cond, batch_size)
    return {k: v for k, v in variables.items() if k not in REPORTS}

  def forward(variables, x, cond=None):
    check(x, cond)
    units = standardization.of(variables)
    z, log_det = module.apply(
      variables,
      standardization.standardize_x(units, x),
      standardization.standardize_cond(units, cond),
      method="forward",
    )
    return z, log_det + standardization.log_det(units, x)

  def inverse(variables, z, cond=None):
    check_cond(cond)
    units = standardization.of(variables)
    own_cond = standardization.standardize_cond(units, cond)
    # Checked only after a failure, since it takes a trace of the flow.
    try:
      x, log_det = module.apply(variables, z, own_cond, method="inverse")
    except (AttributeError, IndexError, TypeError, ValueError):
      check_latents(z, latent_shapes(variables, cond))
      raise
    if x.shape[1:] != event_shape:
      check_latents(z, latent_shapes(variables, cond))
    x = standardization.restore_x(units, x)
    return x, log_det - standardization.log_det(units, x)

  def log_prob(variables, x, cond=None):
    return likelihood.log_prob(*forward(variables, x, cond), base)

  def latent_shapes(variables, cond=None):
    leaves = jax.tree.leaves(cond)
    if not all(leaf.ndim for leaf in leaves):
      raise ValueError("cond must have a row for each example, got a number.")
    if not all(leaf.shape[0] for leaf in leaves):
      raise ValueError("cond has no rows: pass at least one condition.")
    batch = leaves[0].shape[0] if leaves else 1
    # In the parameters' precision if that is more than float32.
    dtype = jnp.result_type(
      jnp.float32,
      *(
        leaf.dtype
        for leaf in jax.tree.leaves(variables)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
      ),
    )
    x = jax.ShapeDtypeStruct((batch, *event_shape), dtype)
    return jax.eval_shape(forward, variables, x, cond)[0]

  def sample(variables, rng, cond=None, num_samples=1, temperature=1.0):
    shapes = latent_shapes(variables, cond)
    z = draw_latents(rng, shapes, num_samples, temperature, base)
    # Maps over latents alone: anything that depends only on the condition is
    # then computed once per image.
    run = jax.vmap(lambda one: inverse(variables, one, cond), out_axes=1)
    x, log_det = run(z)
    prior = jax.vmap(
      lambda one: likelihood.base_log_prob(one, base), out_axes=1
    )(z)
    return x, prior - log_det

  def check(x, cond):
    check_shape("x", x, event_shape)
    if not jnp.issubdtype(x.dtype, jnp.floating):
      raise ValueError(
        f"x is {x.dtype}, but a flow models continuous numbers: convert it to"
        " float32, in the range that the flow was made for."
      )
    check_cond(cond)
    check_rows(x, cond)

  def check_cond(cond):
    if cond_shape is not None:
      check_cond_shape(cond, cond_shape)

  return Flow(
    init=checked(eager.compiled(init, static=("batch_size",))),
    forward=checked(eager.compiled_with_checks(forward)),
    inverse=checked(eager.compiled(inverse)),
    log_prob=checked(eager.compiled_with_checks(log_prob)),
    sample=checked(eager.compiled_sample(sample)),
    latent_shapes=checked(latent_shapes),
    module=module,
    event_shape=event_shape,
    cond_shape=cond_shape,
    base=base,
  )


def split_variables(variables: Mapping[str, Any]) -> tuple[PyTree, PyTree]:
  """Splits variables into trained parameters and the other collections."""
  others = {k: v for k, v in variables.items() if k in COLLECTIONS}
  return variables.get("params", {}), others


def draw_latents(
  rng: Array,
  shapes: PyTree,
  num_samples: int,
  temperature: Any = 1.0,
  base: StudentT | None = None,
) -> PyTree:
  """Draws latents [num_samples, B, ...] for each level.

  Args:
    rng: A JAX random key.
    shapes: A pytree of arrays or `jax.ShapeDtypeStruct` [B, ...], one per
      level.
    num_samples: Samples per example.
    temperature: Scale of the latents: one number, or one per level.
    base: Distribution of the latents; None is N(0, I).

  Raises:
    ValueError: if the number of temperatures is wrong.
  """
  leaves, tree = jax.tree.flatten(shapes)
  temperatures = jnp.asarray(temperature)
  if temperatures.shape not in ((), (len(leaves),)):
    raise ValueError(
      f"temperature is one number or {len(leaves)}, one per level of latents;"
      f" got shape {list(temperatures.shape)}."
    )
  temperatures = jnp.broadcast_to(temperatures, (len(leaves),))
  latents = [
    temperatures[k].astype(leaf.dtype)
    * jax.random.normal(key, (num_samples, *leaf.shape), leaf.dtype)
    for k, (key, leaf) in enumerate(
      zip(jax.random.split(rng, len(leaves)), leaves, strict=True)
    )
  ]
  if base is not None and latents:
    # A key that no leaf has.
    key = jax.random.fold_in(rng, len(leaves))
    scales = base.draw_scales(key, latents[0].shape[:2], latents[0].dtype)
    latents = [
      leaf * scales.reshape(*scales.shape, *(1,) * (leaf.ndim - 2))
      for leaf in latents
    ]
  return jax.tree.unflatten(tree, latents)
