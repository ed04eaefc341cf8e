"""The table of C2STs on sbibm, ours next to quoted ones."""

from collections.abc import Sequence

import numpy as np
from result_rows import Row

# Quoted from Lueckmann et al. 2021 (their published runs): NPE with neural
# spline flows, one round, by number of simulations; `gaussian_mixture` from
# their later, corrected runs.
NPE = {
  "gaussian_linear": {1000: 0.694, 10_000: 0.552, 100_000: 0.506},
  "gaussian_linear_uniform": {1000: 0.696, 10_000: 0.553, 100_000: 0.509},
  "gaussian_mixture": {1000: 0.716, 10_000: 0.615, 100_000: 0.548},
  "two_moons": {1000: 0.725, 10_000: 0.606, 100_000: 0.542},
  "slcp": {1000: 0.975, 10_000: 0.901, 100_000: 0.831},
  "bernoulli_glm": {1000: 0.863, 10_000: 0.678, 100_000: 0.559},
  "sir": {1000: 0.815, 10_000: 0.680, 100_000: 0.585},
  "lotka_volterra": {1000: 0.999, 10_000: 0.997, 100_000: 0.981},
}
HEADER = (
  "| task | simulations | seed | C2ST, ours | NPE (quoted) | fit, seconds |",
  "|---|---:|---:|---|---|---:|",
)


def table(rows: Sequence[Row]) -> str:
  """Returns the rows as a table in Markdown; C2STs as mean ± std."""
  lines = [
    f"| {row['task']} | {row['budget']:,} | {row['seed']} |"
    f" {np.mean(row['c2st']):.3f} ± {np.std(row['c2st']):.3f} |"
    f" {NPE[row['task']].get(row['budget'], '')} | {row['fit_seconds']:.0f} |"
    for row in rows
  ]
  return "\n".join([*HEADER, *lines])
