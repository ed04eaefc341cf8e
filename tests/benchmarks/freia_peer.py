"""FrEIA's conditional flow for vectors, trained as `cinn_jax.fit` trains ours.

It has the same blocks, widths, permutations, clamp, split, loss, optimizer,
schedule, clipping, batch size, validation and patience as ours. In both, the
last layer of every subnet starts at zero, and the other layers start from a
uniform distribution. Only random numbers differ, and thus the order of the
rows.
Needs the extra `freia`.
"""

import copy
import math

import FrEIA.framework
import FrEIA.modules
import numpy as np
import torch


def fit(theta, x, permutations, settings, seed):
  """Fits p(theta | x).

  Args:
    theta: Parameters [N, D].
    x: Observations [N, C].
    permutations: Permutation after each coupling, [blocks, D].
    settings: `hidden`, `alpha`, and keyword arguments of `cinn_jax.fit`.
    seed: Seed of PyTorch's random numbers.

  Returns:
    (The flow of the epoch with the best validation loss, number of epochs).
  """
  torch.manual_seed(seed)
  # Products of this size are slower on several threads, and far slower if other
  # work runs on the machine.
  torch.set_num_threads(1)
  inn = _build(theta.shape[1], x.shape[1], permutations, settings)
  theta, x = torch.tensor(theta), torch.tensor(x)
  order = torch.randperm(len(theta))
  held_out = round(settings["validation_fraction"] * len(theta))
  validation, training = order[:held_out], order[held_out:]
  batch_size, epochs = settings["batch_size"], settings["num_epochs"]
  steps = len(training) // batch_size
  optimizer = torch.optim.Adam(inn.parameters(), settings["learning_rate"])
  schedule = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda k: (1 + math.cos(math.pi * k / (steps * epochs))) / 2
  )
  best, best_loss, best_epoch = None, math.inf, 0
  for epoch in range(epochs):
    shuffled = training[torch.randperm(len(training))]
    for batch in shuffled[: steps * batch_size].reshape(steps, batch_size):
      optimizer.zero_grad()
      _loss(inn, theta[batch], x[batch]).backward()
      torch.nn.utils.clip_grad_norm_(inn.parameters(), settings["clip_norm"])
      optimizer.step()
      schedule.step()
    with torch.no_grad():
      loss = _loss(inn, theta[validation], x[validation]).item()
    if loss < best_loss:
      best, best_loss = copy.deepcopy(inn.state_dict()), loss
      best_epoch = epoch
    if epoch - best_epoch >= settings["patience"]:
      break
  inn.load_state_dict(best)
  return inn, epoch + 1


def sample(inn, x, num_samples, seed):
  """Draws samples [N, num_samples, D] given x [N, C]."""
  torch.manual_seed(seed)
  dim = inn.shapes[0][0]
  cond = torch.tensor(x).repeat_interleave(num_samples, dim=0)
  with torch.no_grad():
    samples, _ = inn(torch.randn(len(cond), dim), c=[cond], rev=True)
  return samples.reshape(len(x), num_samples, dim).numpy()


def _build(dim, cond_dim, permutations, settings):
  def subnet(channels_in, channels_out):
    layers = []
    for width in settings["hidden"]:
      layers += [torch.nn.Linear(channels_in, width), torch.nn.ReLU()]
      channels_in = width
    last = torch.nn.Linear(channels_in, channels_out)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return torch.nn.Sequential(*layers, last)

  inn = FrEIA.framework.SequenceINN(dim)
  state = np.random.get_state()
  for order in permutations:
    inn.append(
      FrEIA.modules.GLOWCouplingBlock,
      cond=0,
      cond_shape=(cond_dim,),
      subnet_constructor=subnet,
      clamp=settings["alpha"],
      split_len=dim // 2,
    )
    inn.append(FrEIA.modules.PermuteRandom, seed=0)
    last = inn.module_list[-1]
    with torch.no_grad():
      last.perm[:] = torch.tensor(order.copy())
      last.perm_inv[:] = torch.argsort(last.perm)
  np.random.set_state(state)  # FrEIA seeds the global generator.
  return inn


def log_prob(inn, theta, x):
  """Returns ln p(theta | x) in nats, a numpy array [N]."""
  with torch.no_grad():
    return _log_prob(inn, torch.tensor(theta), torch.tensor(x)).numpy()


def _log_prob(inn, theta, x):
  z, log_det = inn(theta, c=[x])
  constant = 0.5 * theta.shape[1] * math.log(2 * math.pi)
  return -0.5 * torch.sum(z**2, dim=1) + log_det - constant


def _loss(inn, theta, x):
  return -torch.mean(_log_prob(inn, theta, x)) / theta.shape[1]
