"""Renew the table of TorchJD's aggregators in docs/foreign.md: ``OMP_NUM_THREADS=1 python docs/foreign.py``."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

from mtlbench.check.certificate import Certificate
from mtlbench.check.foreign import check_foreign
from mtlbench.check.result import Result

PAGE = Path(__file__).resolve().parent / "foreign.md"
MATRICES = 20
MODULE = "torchjd.aggregation"
SUBJECTS: dict[str, str | None] = {
    "AlignedMTL": "aligned-mtl",
    "AlignedMTLWeighting": "aligned-mtl",
    "CAGrad[c=0.5]": "cagrad[c=0.5]",
    "CAGradWeighting[c=0.5]": "cagrad[c=0.5]",
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
