"""Nobody's file is lost, and a photograph's samples are its own."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from cinn_jax.images import reading
from cinn_jax.sampling import numbered
from cinn_jax.sampling import sample as sampling
from cinn_jax.sampling.results import Results
from cinn_jax.sampling.sample import sample
from cinn_jax.workdir.trained import restore
from tests.support import tiny, untrained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "run.safetensors"
  untrained.write_file(tiny.photos(), path)
  return path


@pytest.fixture
def album(tmp_path):
  folder = tmp_path / "album"
  folder.mkdir()
  for k in range(3):
    rng = np.random.default_rng(k)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
    coarse.resize((40 + k, 30)).save(folder / f"scan_{k}.png")
  return folder


def _contents(folder):
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


def _facts(folder):
  return json.loads((folder / "samples.json").read_text())


def test_originals_are_never_written_over(run, album, capsys):
  (album / "sheet.png").write_bytes((album / "scan_1.png").read_bytes())
  (album / "scan.png").write_bytes((album / "scan_2.png").read_bytes())
  before = _contents(album)
  for _ in range(2):
    sample(run, album, inputs=[f"{album}/scan.png"], num_samples=2)
    after = _contents(album)
    assert {name: after[name] for name in before} == before
  assert set(after) - set(before) == {
    *("scan-2_1.png", "scan-2_2.png", "sheet-2.png", "samples.json"),
  }
  assert "which are kept" in capsys.readouterr().out


def test_a_foreign_samples_json_is_refused(run, album, tmp_path):
  out = tmp_path / "out"
  out.mkdir()
  for content in ("{}", "[1]", "no JSON"):
    (out / "samples.json").write_text(content)
    with pytest.raises(ValueError, match=r"choose another --outputs"):
      sample(run, out, inputs=[str(album)])
    assert (out / "samples.json").read_text() == content


def test_samples_do_not_depend_on_the_company(run, album, tmp_path):
  alone, all_of_them = tmp_path / "alone", tmp_path / "all"
  sample(run, alone, inputs=[f"{album}/scan_2.png"], num_samples=2, seed=3)
  sample(run, all_of_them, inputs=[str(album)], num_samples=2, seed=3)
  for k in (1, 2):
    file = f"scan_2_{k}.png"
    assert (alone / file).read_bytes() == (all_of_them / file).read_bytes()
  other = tmp_path / "other"
  sample(run, other, inputs=[f"{album}/scan_2.png"], num_samples=2, seed=4)
  file = "scan_2_1.png"
  assert (alone / file).read_bytes() != (other / file).read_bytes()


def test_fewer_samples_are_the_first_of_more(run, album, tmp_path, monkeypatch):
  draw = sampling.draw_ranked

  def draw_by_two(*arguments, chunk, **options):
    return draw(*arguments, chunk=2, **options)

  monkeypatch.setattr(sampling, "draw_ranked", draw_by_two)
  seen = []
  for count in (5, 3):
    out = tmp_path / str(count)
    sample(run, out, inputs=[f"{album}/scan_0.png"], num_samples=count)
    pictures = (out / f"scan_0_{k + 1}.png" for k in range(count))
    seen.append({path.read_bytes() for path in pictures})
  assert len(seen[0]) == 5 and seen[1] < seen[0]


def test_an_album_shares_its_latents(run, album, tmp_path):
  """A copy of a photograph under another name gets the same samples."""
  (album / "copy.png").write_bytes((album / "scan_0.png").read_bytes())
  out = tmp_path / "out"
  sample(run, out, inputs=[str(album)], num_samples=1)
  first, second = (out / f"{name}_1.png" for name in ("copy", "scan_0"))
  assert first.read_bytes() == second.read_bytes()


def test_one_bad_photograph_does_not_stop_the_others(run, album, tmp_path):
  (album / "a.png").write_bytes(b"no picture")
  long = album / ("L" * 250 + ".png")
  long.write_bytes((album / "scan_0.png").read_bytes())
  out = tmp_path / "out"
  failed = sample(run, out, inputs=[str(album)], num_samples=1)
  assert set(failed) == {str(album / "a.png"), str(long)}
  assert failed == _facts(out)["failed"]
  assert {f"scan_{k}" for k in range(3)} == set(_facts(out)["pictures"])


def test_a_name_whose_results_are_legal_is_written(run, album, tmp_path):
  path = album / ("L" * 225 + ".png")
  path.write_bytes((album / "scan_0.png").read_bytes())
  assert not sample(run, tmp_path / "out", inputs=[str(path)], num_samples=1)


def test_trouble_in_computing_is_that_photographs(
  run, album, tmp_path, monkeypatch
):
  draw, calls = sampling.draw_ranked, []

  def fail_once(*arguments, **options):
    calls.append(arguments)
    if len(calls) == 2:
      raise MemoryError
    return draw(*arguments, **options)

  monkeypatch.setattr(sampling, "draw_ranked", fail_once)
  failed = sample(run, tmp_path / "out", inputs=[str(album)], num_samples=1)
  assert list(failed.values()) == ["MemoryError"]
  assert len(_facts(tmp_path / "out")["pictures"]) == 2


def test_an_interrupted_batch_goes_on(run, album, tmp_path, monkeypatch):
  whole, out = tmp_path / "whole", tmp_path / "out"
  options = {"inputs": [str(album)], "num_samples": 2}
  sample(run, whole, **options)
  add, calls = Results.add, []

  def interrupt(*arguments, **options):
    calls.append(arguments)
    if len(calls) == 2:
      raise KeyboardInterrupt
    add(*arguments, **options)

  with monkeypatch.context() as patch:
    patch.setattr(Results, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
      sample(run, out, **options)
  assert list(_facts(out)["pictures"]) == ["scan_0"]
  stamp = (out / "scan_0_1.png").stat().st_mtime_ns
  sample(run, out, **options)
  assert (out / "scan_0_1.png").stat().st_mtime_ns == stamp
  assert _contents(out) == _contents(whole)


def test_a_photograph_that_changed_is_done_again(run, album, tmp_path):
  out, path = tmp_path / "out", album / "scan_0.png"
  sample(run, out, inputs=[str(path)], num_samples=1)
  before = (out / "scan_0_1.png").read_bytes()
  path.write_bytes((album / "scan_1.png").read_bytes())
  sample(run, out, inputs=[str(path)], num_samples=1)
  assert (out / "scan_0_1.png").read_bytes() != before
  assert list(_facts(out)["pictures"]) == ["scan_0"]


def test_results_of_other_settings_are_not_left(run, album, tmp_path, capsys):
  out = tmp_path / "out"
  sample(run, out, inputs=[str(album)], num_samples=2)
  sample(run, out, inputs=[f"{album}/scan_1.png"], num_samples=1, seed=1)
  assert set(_contents(out)) == {"scan_1_1.png", "samples.json", "sheet.png"}
  assert "Removing 6 samples of other settings" in capsys.readouterr().out


def test_large_batches_have_several_sheets(run, tmp_path):
  folder, out = tmp_path / "many", tmp_path / "out"
  folder.mkdir()
  for k in range(26):
    Image.new("L", (16, 16), 5 * k).save(folder / f"{k:02}.png")
  sample(run, out, inputs=[str(folder)], num_samples=1)
  assert _facts(out)["sheets"] == ["sheet.png", "sheet-2.png"]
  sizes = [
    reading.decode(out / name).shape[0] for name in _facts(out)["sheets"]
  ]
  assert sizes[1] < sizes[0] / 4


def test_subfolders_are_kept(run, album, tmp_path):
  (album / "sub").mkdir()
  (album / "sub" / "a.png").write_bytes((album / "scan_0.png").read_bytes())
  out = tmp_path / "out"
  sample(run, out, inputs=[str(album)], num_samples=1, recursive=True)
  assert (out / "sub" / "a_1.png").is_file()


def test_log_densities_are_those_of_the_samples(run):
  trained = restore(run)
  draw = numbered.make_draw(trained.flow)
  cond = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype("f4")
  ranked = numbered.draw_ranked(
    lambda *a: draw(trained.variables, cond, *a), seed=0, num_samples=11
  )
  x = np.concatenate([x for _, x in ranked.chunks(4)])
  log_prob = jax.jit(trained.flow.log_prob)
  many = np.repeat(cond, 11, axis=0)
  expected = log_prob(trained.variables, x, many).total
  np.testing.assert_allclose(ranked.log_prob, expected, rtol=1e-4)
  assert (np.diff(ranked.log_prob) <= 0).all()


def test_metadata_goes_from_the_photograph_to_its_results(
  run, album, tmp_path, capsys
):
  exif = Image.Exif()
  exif[0x010E] = "a quay"
  path = album / "a.jpg"
  Image.open(album / "scan_0.png").save(path, exif=exif, dpi=(600, 600))
  layer = Image.open(album / "scan_1.png").convert("RGBA")
  layer.putalpha(99)
  layer.save(album / "b.png")
  out = tmp_path / "out"
  inputs = [str(path), str(album / "b.png")]
  sample(run, out, inputs=inputs, num_samples=1)
  with Image.open(out / "a_1.jpg") as image:
    assert image.getexif()[0x010E] == "a quay"
    assert image.info["dpi"] == (600, 600)
  assert "not kept: transparency" in capsys.readouterr().out


def test_the_format_of_results_can_be_chosen(run, album, tmp_path):
  for form, quality in (("jpg", 10), ("jpg", 95), ("webp", 95), ("tif", 95)):
    out = tmp_path / f"{form}{quality}"
    sample(
      run,
      out,
      inputs=[str(album / "scan_0.png")],
      num_samples=1,
      output_format=form,
      quality=quality,
    )
    assert (out / f"scan_0_1.{form}").is_file()
  sizes = [
    (tmp_path / f"jpg{quality}" / "scan_0_1.jpg").stat().st_size
    for quality in (10, 95)
  ]
  assert sizes[0] < sizes[1]
  with pytest.raises(ValueError, match="expected one of png, jpg, webp, tif"):
    sample(run, out, inputs=[str(album)], output_format="bmp")


def test_temperatures_of_other_flows_remove_nothing(run, album, tmp_path):
  out = tmp_path / "out"
  sample(run, out, inputs=[f"{album}/scan_1.png"], num_samples=1)
  before = _contents(out)
  with pytest.raises(ValueError, match="but this model has 3 levels"):
    sample(run, out, inputs=[str(album)], temperatures=[[1.0, 0.8]])
  assert _contents(out) == before
