"""Format the certificate of foreign code as Markdown."""

from __future__ import annotations

from mtlbench.check.certificate import Certificate

LEGEND = (
    "`FAIL`: a fault, or a deviation from the published method. `note`: a convention or an observation, no fault. "
    "`-`: does not apply."
)


def foreign_markdown(certificate: Certificate) -> str:
    """Return the certificate of foreign code as a page in Markdown.

    :param certificate: the certificate.
    """
    lines = [f"# {certificate.method}", "", LEGEND, "", "| check | result | detail |", "| --- | --- | --- |"]
    lines += [f"| {one.check} | {one.mark} | {in_cell(one.detail)} |" for one in certificate.results]
    return "\n".join(lines) + "\n"


def in_cell(text: str, most: int = 300) -> str:
    """Return a text as it can stand in a cell of a table.

    :param text: the text.
    :param most: the largest number of characters.
    """
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= most else f"{text[: most - 1]}…"
