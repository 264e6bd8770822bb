r"""The report as LaTeX for ``\input`` into a paper: one ``table`` environment with booktabs rules per table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph, Table

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
    """Return a document as LaTeX, without detail tables: HTML, JSON and CSV have them.

    :param blocks: the document.
    """
    parts = [PREAMBLE]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"\\subsection*{{{escape(text)}}}\n")
            case Paragraph(text):
                parts.append(f"{escape(text)}\n")
            case Bullets(title, items):
                lines = "\n".join(f"  \\item {escape(item)}" for item in items)
                parts.append(f"\\paragraph{{{escape(title)}}}\n\\begin{{itemize}}\n{lines}\n\\end{{itemize}}\n")
            case Table(detail=False):
                parts.append(_table(block))
    return "\n".join(parts)


def escape(text: str) -> str:
    """Return text escaped for LaTeX. Signs before digits become mathematical signs.

    :param text: plain text.
    """
    return SIGN.sub(r"$\1$", "".join(SPECIAL.get(letter, letter) for letter in text))


def _table(table: Table) -> str:
    """Return a table with its caption above, as journals require."""
    width = len(table.columns)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        f"\\caption{{{escape(table.title)}. {escape(' '.join((*table.caption, *table.explained)))}}}",
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
    """Return one row of a table."""
    return " & ".join(cells) + r" \\"
