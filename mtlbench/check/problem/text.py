"""Format certificates of problems for the terminal, as Markdown and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from mtlbench.check.problem.certificate import ProblemCertificate
from mtlbench.check.problem.parts import Part
from mtlbench.check.text import results_table, verdict
from mtlbench.errors import one_line
from mtlbench.host.terminal import Console

WIDTH = 200
"""Most characters of the names of a part's parameters; JSON has all of them."""


def print_problem(certificate: ProblemCertificate) -> None:
    """Print the certificate of one problem: its checks, and what of its model belongs to whom.

    :param certificate: the certificate.
    """
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{escape(certificate.problem)}[/]: {verdict(certificate.results)}")
    console.print(results_table(certificate.results), soft_wrap=False)
    if certificate.parts:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading, side in (("part", "left"), ("tensors", "right"), ("numbers", "right"), ("parameters", "left")):
            table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
        for part in certificate.parts:
            table.add_row(*map(escape, _row(part)))
        console.print()
        console.print(table, soft_wrap=False)
    console.print()


def problem_data(certificate: ProblemCertificate) -> dict[str, Any]:
    """Return a certificate as plain data.

    :param certificate: the certificate.
    """
    return {
        "problem": certificate.problem,
        "passed": certificate.passed,
        "checks": [vars(result) for result in certificate.results],
        "parts": [{"part": part.owner, "parameters": dict(part.parameters)} for part in certificate.parts],
    }


def problems_markdown(certificates: Sequence[ProblemCertificate]) -> str:
    """Return certificates in Markdown: for each problem its checks, and the parts of its model.

    :param certificates: one per problem.
    """
    lines = ["# Certificate of problems", "", "Each problem is trained a few steps on the CPU, again and again."]
    for certificate in certificates:
        lines += ["", f"## {certificate.problem}", "", "| check | result | detail |", "| --- | --- | --- |"]
        lines += [f"| {result.check} | {result.mark} | {_cell(result.detail)} |" for result in certificate.results]
        if certificate.parts:
            lines += ["", "| part | tensors | numbers | parameters |", "| --- | ---: | ---: | --- |"]
            lines += [f"| {' | '.join(map(_cell, _row(part)))} |" for part in certificate.parts]
    return "\n".join(lines) + "\n"


def _row(part: Part) -> tuple[str, str, str, str]:
    return part.owner, str(len(part.parameters)), str(part.numbers), one_line(", ".join(part.parameters), WIDTH)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
