r"""The report as LaTeX: one ``table`` with booktabs rules for each table, to be ``\input`` into a paper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mtlbench.report.document import Block, Bullets, Heading, Paragraph, Table

PREAMBLE = "% Made by mtlbench report. Needs: \\usepackage{booktabs,amssymb}\n"

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after \\ a bracket would open the row's optional argument
    "]": "{]}",
    "*": r"{*}",  # after \\ a star would forbid a page break
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "Δ": r"$\Delta$",
    "ρ": r"$\rho$",
    "χ": r"$\chi$",
    "²": r"\textsuperscript{2}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "▼": r"$\blacktriangledown$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
}
SIGN = re.compile(r"(?<![\w.])([-+])(?=\d)")


def render(blocks: Sequence[Block]) -> str:
    """Render the document; tables for details are left to HTML, JSON and CSV."""
    parts = [PREAMBLE]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"\\subsection*{{{escape(text)}}}\n")
            case Paragraph(text):
                parts.append(f"{escape(text)}\n")
            case Bullets(title, items):
                listed = "\n".join(f"  \\item {escape(item)}" for item in items)
                parts.append(f"\\paragraph{{{escape(title)}}}\n\\begin{{itemize}}\n{listed}\n\\end{{itemize}}\n")
            case Table(detail=False):
                parts.append(_table(block))
    return "\n".join(parts)


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is. Signs before digits become those of mathematics."""
    return SIGN.sub(r"$\1$", "".join(SPECIAL.get(letter, letter) for letter in text))


def _table(table: Table) -> str:
    """Render a table with its caption above, as journals want it."""
    width = len(table.columns)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        f"\\caption{{{escape(table.title)}. {escape(' '.join(table.caption))}}}",
        f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _line(map(escape, table.columns)),
    ]
    for section in table.sections:
        lines.append(r"\midrule")
        if section.heading:
            lines.append(f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{escape(section.heading)}}}}} \\\\")
        for row in section.rows:
            cells = [escape(cell) for cell in row.cells]
            lines.append(_line(f"\\textbf{{{cell}}}" if row.strong else cell for cell in cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _line(cells: Iterable[str]) -> str:
    """Return one row."""
    return " & ".join(cells) + r" \\"
