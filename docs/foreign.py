"""Renew the table of TorchJD's aggregators in docs/foreign.md: ``OMP_NUM_THREADS=1 python docs/foreign.py``.

UPGrad, DualProj and NashMTL need the extras ``torchjd[quadprog_projector,nash_mtl]``. It takes some minutes.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import torch
from torchjd.aggregation import AlignedMTLWeighting, CRMOGMWeighting

from mtlbench.check.certificate import Certificate
from mtlbench.check.claims import STATEMENTS
from mtlbench.check.foreign import check_foreign
from mtlbench.check.foreign.text import in_cell
from mtlbench.check.result import Result
from mtlbench.errors import UsageError

FILE = Path(__file__).resolve()
PAGE = FILE.with_name("foreign.md")
MARKS = "<!-- torchjd -->", "<!-- end of torchjd -->"
MATRICES = 10
CR_MOGM = CRMOGMWeighting(AlignedMTLWeighting())
"""An object, because its constructor takes another object."""

SUBJECTS: dict[str, str | None] = {
    "AlignedMTL": "aligned-mtl",
    "AlignedMTLWeighting": "aligned-mtl",
    "CAGrad[c=0.5]": "cagrad[c=0.5]",
    "CAGradWeighting[c=0.5]": "cagrad[c=0.5]",
    "CR_MOGM": "cr-mogm-aligned-mtl",
    "ConFIG": "config",
    "Constant[weights=1/2/3]": "fixed[w=1:2:3]",
    "ConstantWeighting[weights=1/2/3]": "fixed[w=1:2:3]",
    "DualProj": "dualproj",
    "DualProjWeighting": "dualproj",
    "ExcessMTL[robust_step_size=0.01,n_warmup_steps=1]": "excess-mtl",
    "ExcessMTLWeighting[robust_step_size=0.01,n_warmup_steps=1]": "excess-mtl",
    "FairGrad[alpha=2.0]": "fairgrad",
    "FairGradWeighting[alpha=2.0]": "fairgrad",
    "GradDrop": "graddrop",
    "GradVac": "gradvac[beta=0.5]",
    "GradVacWeighting": "gradvac[beta=0.5]",
    "IMTLG": "imtl-g",
    "IMTLGWeighting": "imtl-g",
    "Krum[n_byzantine=1]": "krum",
    "KrumWeighting[n_byzantine=1]": "krum",
    "MGDA": "mgda",
    "MGDAWeighting": "mgda",
    "Mean": "mean",
    "MeanWeighting": "mean",
    "MoDoWeighting": None,
    "NashMTL[n_tasks=3]": "nash-mtl",
    "PCD": "pcd",
    "PCDWeighting": "pcd",
    "PCGrad": "pcgrad",
    "PCGradWeighting": "pcgrad",
    "Random": "random",
    "RandomWeighting": "random",
    "SDMGradWeighting": None,
    "Sum": "sum",
    "SumWeighting": "sum",
    "TrimmedMean[trim_number=1]": "trimmed-mean",
    "UPGrad": "upgrad",
    "UPGradWeighting": "upgrad",
}
"""What of TorchJD is checked → the method that it is held to."""
REMARKS = {
    "CR_MOGM": "`CRMOGMWeighting(AlignedMTLWeighting())`.",
    "Krum[n_byzantine=1]": "With four tasks the two nearest gradients have equal scores: TorchJD takes the first of "
    "them, as the paper does; our `krum` lets them share the weight. No fault of TorchJD.",
    "KrumWeighting[n_byzantine=1]": "See Krum.",
    "MoDoWeighting": "Takes the gradients of several batches in one call.",
    "NashMTL[n_tasks=3]": "Solved by steps that may stop early, as in the authors' code; our `nash-mtl` "
    "is solved to its optimality conditions.",
    "SDMGradWeighting": "Takes the gradients of several batches in one call.",
}


def place(subject: str) -> str:
    """Return the spec of a subject, as ``mtlbench check --foreign`` takes it."""
    return f"{FILE}:{subject}" if subject == "CR_MOGM" else f"torchjd.aggregation:{subject}"


def row(cells: list[str]) -> str:
    """Return a row of the table."""
    return f"| {' | '.join(cells)} |"


def cells(subject: str) -> list[str]:
    """Check one subject and return the cells of its row."""
    method = SUBJECTS[subject]
    try:
        certificate = check_foreign(place(subject), method, (), MATRICES)
    except UsageError as error:
        found = ["not checked", "-", REMARKS.get(subject) or in_cell(str(error).partition("; supported")[0])]
    else:
        found = [_verdict(certificate), _update(certificate), _words(subject, certificate)]
    return [f"`{subject}`", f"`{method}`" if method else "-", *found]


def _verdict(certificate: Certificate) -> str:
    failed = [result.check for result in certificate.results if result.passed is False]
    return "FAIL: " + ", ".join(failed) if failed else "pass"


def _update(certificate: Certificate) -> str:
    result = next(result for result in certificate.results if result.check == "update")
    if result.worst is None:
        return "-"
    return f"{result.worst:.1f} s.e." if "standard errors" in result.detail else f"{result.worst:.0e}"


def _words(subject: str, certificate: Certificate) -> str:
    lines = [f"{one.check}: {in_cell(one.detail, 220)}" for one in certificate.results if _is_told(one)]
    return "<br>".join([*([REMARKS[subject]] if subject in REMARKS else []), *lines])


def _is_told(result: Result) -> bool:
    """Return whether the page shows a line: faults and conventions, but not what holds or fails without a claim."""
    silent = result.check == "shape" or (result.check in STATEMENTS and "not claimed" in result.detail)
    return result.passed is False or (result.note and not silent) or result.check == "update"


def table() -> str:
    """Check every subject and return the table."""
    lines = [
        f"TorchJD {version('torchjd')}, {MATRICES} matrices per family. Renewed by `OMP_NUM_THREADS=1 python "
        "docs/foreign.py`.",
        "",
        "| `torchjd.aggregation:` | `--as` | result | difference | in words |",
        "| --- | --- | --- | ---: | --- |",
    ]
    last: list[str] = []
    for subject in SUBJECTS:
        print(subject, file=sys.stderr)
        line = cells(subject)
        same = bool(last) and line[1:] == last[1:]  # a weighting says what its aggregator says
        lines.append(row([*line[:4], "as above"] if same else line))
        last = line
    return "\n".join(lines)


def page(text: str, content: str) -> str:
    """Return the page with new content between the marks."""
    before, rest = text.split(MARKS[0])
    return f"{before}{MARKS[0]}\n{content}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")
