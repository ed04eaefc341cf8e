"""The report of `--mode=preflight`: the verdict, the cost, and advice."""

from ml_collections import ConfigDict

from cinn_jax.runtime import slices
from cinn_jax.training.preflight import Preflight

_GIB = 2**30


def report(config: ConfigDict, devices: str, found: Preflight) -> str:
  """Returns the report of a preflight as text."""
  named = slices.parse(devices)
  batch_size = config.train.batch_size
  lines = [
    f"{config.model.name} on {devices}: {named.num_devices} devices,"
    f" {batch_size // named.num_devices} of {batch_size} pictures on each,"
    f" memory={config.model.get('memory', 'store')}, "
    f"{config.model.get('compute_dtype', 'float32')}"
    f"{', fully sharded' if config.train.fully_sharded else ''}.",
    _verdict(named, found),
  ]
  if not found.does_not_fit:
    lines += ["", "Memory of a device"]
    lines += _rows(
      ("state and batch", _size(found.arguments)),
      ("activations and gradients", _size(found.temporaries)),
      ("results", _size(found.outputs)),
      ("program", _size(found.program)),
      ("total", _size(found.total)),
    )
    lines += ["", "Collectives in a step (a loop's body counts once)"]
    lines += _rows(
      *(
        (f"{kind}: {count}", _size(size))
        for kind, (count, size) in sorted(found.collectives.items())
      )
    ) or ["  none"]
  lines += ["", "Time of a step"]
  lines += _times(named, found)
  if advice := _advice(config, named, found):
    lines += ["", "To make it fit, the most effective first", *advice]
  return "\n".join(lines)


def _verdict(named, found):
  if found.does_not_fit:
    return f"DOES NOT FIT. The compiler says: {found.does_not_fit}"
  if not named.chip:
    return f"It compiles: {_size(found.total)} on each device."
  share = found.total / named.chip.memory
  return (
    f"{'FITS' if found.fits(named.chip) else 'DOES NOT FIT'}:"
    f" {_size(found.total)} of"
    f" {_size(named.chip.memory)} on each chip ({share:.0%})."
  )


def _times(named, found):
  if found.flops is None:
    return _rows(("FLOPs of a device", "unknown with this version of JAX"))
  rows = [("FLOPs of a device", f"{found.flops / 1e9:,.1f} G")]
  peak = named.peak_flops
  if peak and not found.does_not_fit:
    computing = found.flops / peak
    # Everything is read once and written once, at the least.
    moved = 2 * found.arguments + found.temporaries
    moving = moved / named.chip.bandwidth
    rows += [
      ("computing, at the peak in bfloat16", f"{1e3 * computing:,.2f} ms"),
      ("state and activations, once", f"{1e3 * moving:,.2f} ms"),
      ("floor: no step is faster", f"{1e3 * max(computing, moving):,.2f} ms"),
    ]
  rows.append(("compiled in", f"{found.seconds:,.0f} s"))
  return _rows(*rows)


def _advice(config, named, found):
  if found.fits(named.chip):
    return []
  advice = []
  memory = config.model.get("memory")
  if memory == "store":
    advice.append("  --config.model.memory=reversible  (or remat)")
  elif memory == "remat":
    advice.append("  --config.model.memory=reversible")
  if config.model.get("compute_dtype") == "float32":
    advice.append("  --config.model.compute_dtype=bfloat16")
  fewer = config.train.batch_size // 2
  if fewer >= named.num_devices and fewer % named.num_devices == 0:
    advice.append(f"  --config.train.batch_size={fewer}, or twice the chips")
  else:
    advice.append("  chips with more memory")
  if not config.train.fully_sharded:
    advice.append("  --config.train.fully_sharded=True, for the state")
  return advice


def _rows(*rows):
  return [f"  {name:<44}{value:>16}" for name, value in rows]


def _size(count):
  return f"{count / _GIB:,.3f} GiB"
