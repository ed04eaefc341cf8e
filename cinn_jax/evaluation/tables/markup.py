"""Tables of text in Markdown, LaTeX and HTML."""

import html
from collections.abc import Sequence

_LATEX = {
  **{c: f"\\{c}" for c in "&%$#_{}"},
  "\\": r"\textbackslash{}",
  "~": r"\textasciitilde{}",
  "^": r"\textasciicircum{}",
  "±": r"$\pm$",
  "<": r"\textless{}",
  ">": r"\textgreater{}",
}


def markdown(lines: Sequence[Sequence[str]], left: int = 2) -> str:
  """Formats a table in Markdown, aligned for plain reading.

  Args:
    lines: Rows of equally many cells; the first row is the head.
    left: Number of columns that are flush left; the others are numbers.
  """
  lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
  widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
  rule = ["-" * width for width in widths[:left]]
  rule += ["-" * (width - 1) + ":" for width in widths[left:]]

  def row(cells):
    pairs = list(zip(cells, widths, strict=True))
    padded = [cell.ljust(width) for cell, width in pairs[:left]]
    padded += [cell.rjust(width) for cell, width in pairs[left:]]
    return f"| {' | '.join(padded)} |"

  return "\n".join(map(row, [lines[0], rule, *lines[1:]]))


def latex(lines: Sequence[Sequence[str]], left: int = 2) -> str:
  """Formats a table in LaTeX, for the package booktabs; see `markdown`."""

  def row(cells):
    escaped = ("".join(_LATEX.get(c, c) for c in cell) for cell in cells)
    return " & ".join(escaped) + r" \\"

  columns = "l" * left + "r" * (len(lines[0]) - left)
  return "\n".join(
    [
      rf"\begin{{tabular}}{{{columns}}}",
      r"\toprule",
      row(lines[0]),
      r"\midrule",
      *map(row, lines[1:]),
      r"\bottomrule",
      r"\end{tabular}",
    ]
  )


def as_html(lines: Sequence[Sequence[str]], left: int = 2) -> str:
  """Formats a table as an HTML element; see `markdown`."""

  def row(cells, tag):
    parts = (
      f"<{tag}{'' if k < left else ' class=number'}>{html.escape(cell)}</{tag}>"
      for k, cell in enumerate(cells)
    )
    return f"<tr>{''.join(parts)}</tr>"

  head = f"<thead>{row(lines[0], 'th')}</thead>"
  body = "\n".join(row(line, "td") for line in lines[1:])
  return f"<table>{head}<tbody>{body}</tbody></table>"
