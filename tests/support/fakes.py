"""A copy of the launch scripts, with tools on PATH that note their calls."""

import shlex
import shutil

from tests.support.launcher import ROOT, Launcher

# Writes its name and arguments to $CALLS, one call a line, then does BODY.
TOOL = """#!/usr/bin/env bash
{{ printf '%q ' "${{0##*/}}" "$@"; echo; }} >>"$CALLS"
{body}
"""

ARGUMENTS = [
  "a b",
  "",
  "*",
  "$HOME",
  "$(id)",
  "--x='y z'",
  'a"b',
  "back\\slash",
]


class Project(Launcher):
  """The project's launch folder, and what its scripts are asked to run."""

  def __init__(self, folder, script):
    super().__init__(folder)
    shutil.rmtree(self.root / "launch")
    shutil.copytree(ROOT / "launch", self.root / "launch")
    for name in ("cinn_jax", "configs"):
      (self.root / name).mkdir()
    for name in ("pyproject.toml", "README.md"):
      shutil.copy(ROOT / name, self.root)
    self.script = self.root / "launch" / script
    self.name = f"launch/{script}"
    self.record = folder / "calls"
    self.record.touch()
    self.env |= {"CALLS": str(self.record), "HOME": str(folder)}

  def start(self, *command, **how):
    return super().start(*command, **{"script": self.script, **how})

  def fake(self, name, body=""):
    self.add_tool(name, TOOL.format(body=body))

  def calls(self):
    """Every call so far, as lists of words."""
    return parse(self.record.read_text())

  def path_without(self, tool):
    """A PATH with what the scripts need besides, and not this one."""
    folder = self.tools.with_name("bare tools")
    folder.mkdir()
    for name in ("awk", "bash", "cat", "date", "dirname", "sed", "tr"):
      (folder / name).symlink_to(shutil.which(name))
    assert not shutil.which(tool, path=folder)
    return str(folder)

  def refusal(self, *command, **how):
    """The one line of a call that must be refused."""
    code, out, err = self.run(*command, **how)
    assert code == 1 and not out, (code, out, err)
    assert err.startswith(f"{self.name}: ") and err.count("\n") == 1, err
    return err


def parse(text):
  """Lines of shell as lists of words; comments are left out."""
  lines = (shlex.split(line, comments=True) for line in text.splitlines())
  return [words for words in lines if words]
