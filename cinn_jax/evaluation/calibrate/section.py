"""The section on calibration in a run's report."""

import os

from cinn_jax.evaluation.calibrate import lines
from cinn_jax.evaluation.tables.page import Page
from cinn_jax.images import reading
from cinn_jax.workdir import calibration_file
from cinn_jax.workdir.results_folder import results_folder
from cinn_jax.workdir.trained import Trained

_CAPTIONS = {
  "latents": "Quantiles of the true pictures' latents, by level",
  "reliability": "Reliability of the samples, with the band of a right model",
  "odds": "Reliability of the odds of colours",
  "ranks": "Quantiles of the truth among the samples",
  "sureness": "Regions in which the model is too sure or too unsure",
}


def add_section(
  page: Page,
  workdir: str | os.PathLike[str],
  trained: Trained,
  place: str | os.PathLike[str] | None = None,
) -> None:
  """Adds the tables and pictures that `--mode=calibrate` left for a run.

  If there are none, or they belong to another checkpoint, a line says how to
  make them.

  Args:
    page: The page.
    workdir, place: The run and its results, see `calibration_file.read`.
    trained: The run, restored.

  Raises:
    ValueError: for a damaged `calibration.json`.
  """
  content = calibration_file.read(workdir, place)
  page.heading("Calibration")
  if content is None or content["checkpoint"] != trained.digest:
    page.text(
      "This checkpoint has not been calibrated: --mode=calibrate measures how"
      " often it is right."
    )
    return
  page.text(
    f"{content['pictures']:,} pictures of {content['source']},"
    f" {content['num_samples']} samples of each."
  )
  folder = results_folder(place or workdir) / calibration_file.PICTURES
  for name in content["plots"]:
    kind = name.partition("_")[0]
    title = f"{_CAPTIONS[kind]} ({name})"
    file = folder / f"{name}.png"
    if file.exists():  # The package ships none with its calibration.
      page.picture(reading.decode(file.read_bytes()), title)
  for part in map(lines.from_json, content["parts"]):
    page.text(f"{part.title}:")
    page.table(lines.cells(part))
  page.items(content["notes"])
