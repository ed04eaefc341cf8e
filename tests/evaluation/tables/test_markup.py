"""Tables of text in Markdown, LaTeX and HTML."""

from cinn_jax.evaluation.tables import markup

LINES = [["run", "a|b [%]"], ["x_1 & <y>", "1.0 ± 2"], ["long name", "-"]]


def test_markdown():
  assert markup.markdown(LINES, left=1).splitlines() == [
    "| run       | a\\|b [%] |",
    "| --------- | -------: |",
    "| x_1 & <y> |  1.0 ± 2 |",
    "| long name |        - |",
  ]


def test_latex():
  assert markup.latex(LINES, left=1).splitlines() == [
    r"\begin{tabular}{lr}",
    r"\toprule",
    r"run & a|b [\%] \\",
    r"\midrule",
    r"x\_1 \& \textless{}y\textgreater{} & 1.0 $\pm$ 2 \\",
    r"long name & - \\",
    r"\bottomrule",
    r"\end{tabular}",
  ]


def test_html():
  assert markup.as_html(LINES, left=1) == (
    "<table><thead><tr><th>run</th><th class=number>a|b [%]</th></tr></thead>"
    "<tbody><tr><td>x_1 &amp; &lt;y&gt;</td><td class=number>1.0 ± 2</td>"
    "</tr>\n"
    "<tr><td>long name</td><td class=number>-</td></tr></tbody></table>"
  )
