"""Format certificates for the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from mtlbench.check.certificate import COST_AT, Certificate
from mtlbench.check.claims import STATEMENTS
from mtlbench.check.result import Result
from mtlbench.host.terminal import Console


def print_certificate(certificate: Certificate) -> None:
    """Print the certificate of one method as a table.

    :param certificate: the certificate.
    """
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"[bold]{escape(certificate.method)}[/]: {verdict(certificate.results)}")
    console.print(results_table(certificate.results), soft_wrap=False)
    if certificate.seconds:
        times = ", ".join(f"{_milliseconds(value)} at K = {tasks}" for tasks, value in certificate.seconds.items())
        console.print(f"one call: {times}\n")


def results_table(results: Sequence[Result]) -> Table:
    """Return a line for each result: check, mark, detail.

    :param results: one per check.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in ("check", "mark", "detail"):
        table.add_column(overflow="fold")
    for result in results:
        style = "" if result.note else {True: "", False: "bold red", None: "dim"}[result.passed]
        table.add_row(escape(result.check), result.mark, escape(_shortened(result.detail)), style=style)
    return table


def verdict(results: Sequence[Result]) -> str:
    """Return how many checks passed and failed, in words.

    :param results: one per check.
    """
    failed = sum(result.passed is False for result in results)
    passed = sum(result.passed is True for result in results)
    return f"{passed} checks passed" + (f", {failed} FAILED" if failed else "")


def _shortened(text: str, most: int = 600) -> str:
    return text if len(text) <= most else f"{text[:most]} …"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2g} ms"


def as_data(certificates: Sequence[Certificate]) -> list[dict[str, Any]]:
    """Return certificates as plain data, with checks and seconds per call.

    :param certificates: one certificate per method.
    """
    return [
        {
            "method": certificate.method,
            "passed": certificate.passed,
            "checks": [vars(result) for result in certificate.results],
            "seconds": {str(tasks): value for tasks, value in certificate.seconds.items()},
        }
        for certificate in certificates
    ]


CONDUCT = ("finite", "one task", "order", "own generator", "replay", "no side effects", "heads", "native scale")


def as_markdown(certificates: Sequence[Certificate], matrices: int) -> str:
    """Return the certificate page in Markdown: conduct, claims with their largest violations, and cost.

    :param certificates: one certificate per method.
    :param matrices: the number of matrices per family and check.
    """
    failed = [certificate.method for certificate in certificates if not certificate.passed]
    verdict = f"Failed: {', '.join(failed)}." if failed else "All pass."
    lines = [
        "# Certificate",
        "",
        f"`mtlbench check --all --matrices {matrices} --format markdown` on {len(certificates)} methods. {verdict}",
        "The checks and the families of matrices are documented in `mtlbench/check/`.",
        "",
        "## Conduct",
        "",
        *_table(certificates, CONDUCT, lambda result: result.mark),
        "",
        "`-`: does not apply. *finite*: on every family of matrices, times 10⁻¹⁰, 1 and 10¹⁵. *order*: permuted tasks.",
        "*replay*: a resumed run has the same bits. *heads*: in the engine, each head gets the declared gradient.",
        "",
        "## Claims",
        "",
        "The largest violation found, relative to the terms involved; `-` where the method claims nothing.",
        "",
        *_table(certificates, ("optimality", *STATEMENTS), _worst),
        "",
        "*optimality*: residual of the method's own optimality conditions, which closed forms do not have.",
        "",
        *(f"- *{name}*: {statement}." for name, statement in STATEMENTS.items()),
        "",
        "## Cost",
        "",
        "Median milliseconds per call on one core, for P = 256, including the products of the gradients.",
        "",
        *_costs(certificates),
    ]
    return "\n".join(lines) + "\n"


def _table(certificates: Sequence[Certificate], checks: Sequence[str], show: Any) -> list[str]:
    lines = [f"| method | {' | '.join(checks)} |", f"| --- |{' ---: |' * len(checks)}"]
    for certificate in certificates:
        results = {result.check: result for result in certificate.results}
        cells = [show(results[check]) if check in results else "-" for check in checks]
        lines.append(f"| {certificate.method} | {' | '.join(cells)} |")
    return lines


def _worst(result: Result) -> str:
    if result.passed is None:
        return "-"
    return f"{result.worst:.0e}" if result.passed and result.worst is not None else result.mark


def _costs(certificates: Sequence[Certificate]) -> list[str]:
    lines = [f"| method | {' | '.join(f'K = {tasks}' for tasks in COST_AT)} |", f"| --- |{' ---: |' * len(COST_AT)}"]
    for certificate in certificates:
        seconds = certificate.seconds
        cells = [f"{1000 * seconds[tasks]:.2g}" if tasks in seconds else "-" for tasks in COST_AT]
        lines.append(f"| {certificate.method} | {' | '.join(cells)} |")
    return lines
