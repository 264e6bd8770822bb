"""The certificate for other people's code: optimizer wrappers, functions of gradients, and TorchJD's aggregators."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtlbench.check.certificate import Certificate


def check_foreign(spec: str, claimed: str | None, plugin_files: tuple[str, ...], matrices: int) -> Certificate:
    """Check foreign code. What it prints goes to standard error, and its warnings are not shown.

    :param spec: such as ``torchjd.aggregation:CAGrad[c=0.5]`` or ``pcgrad.py:PCGrad``.
    :param claimed: the spec of our method that it claims to be. Default: pcgrad for a wrapper with ``pc_backward``,
        otherwise none.
    :param plugin_files: files that define further methods.
    :param matrices: the number of matrices per family and check.
    :raises UsageError: for code that cannot be loaded, created or called, or that has no known shape; for an unknown
        method, or one that needs more than the code can be given.
    """
    from mtlbench.check.foreign.certificate import certify_foreign
    from mtlbench.plugins.registry import load_registry

    registry = load_registry(plugin_files)
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return certify_foreign(spec, claimed, registry, matrices)
