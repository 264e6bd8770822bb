"""Run every check on foreign code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from mtlbench.check import robust
from mtlbench.check.certificate import Certificate, attempt
from mtlbench.check.foreign import compare, conduct, optimizer, properties
from mtlbench.check.foreign.borrowed import Examined, examine
from mtlbench.check.foreign.pcgrad import diagnose
from mtlbench.check.result import Result, observed
from mtlbench.contract.method import Method, without_trainer
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import Registry


def certify_foreign(spec: str, claimed: str | None, registry: Registry, matrices: int) -> Certificate:
    """Run every check on foreign code. An exception in a check fails that check.

    :param spec: how the user named it.
    :param claimed: the spec of our method that it claims to be; ``None``: what its shape says.
    :param registry: the plugins in which that method is found.
    :param matrices: the number of matrices per family and check.
    :raises UsageError: as :func:`mtlbench.check.foreign.check_foreign`.
    """
    method = None if claimed is None else _comparable(registry.method(claimed))
    examined = examine(spec, method)
    if method is None and examined.shape.backward == "pc_backward":
        examined = dataclasses.replace(examined, claimed=registry.method("pcgrad"))
    if method is not None and method.reads_losses != "no" and examined.shape.takes != "losses":
        raise UsageError(f"--as {method.spec} reads the losses, but {spec} is given gradients only")
    subject, few = examined.subject, max(3, matrices // 4)
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    checks: list[tuple[str, Callable[[], Result | list[Result]]]] = [
        ("zero gradient", lambda: conduct.zero_gradient(examined, matrices)),
        ("finite", lambda: robust.finite(subject, few)),
        ("one task", lambda: robust.one_task(subject, matrices)),
        ("order", lambda: conduct.order(examined, matrices)),
        ("random numbers", lambda: conduct.generators(examined)),
        ("state", lambda: conduct.state(examined, few)),
        ("inputs", lambda: conduct.inputs(examined, matrices)),
        ("precision", lambda: conduct.precision(examined, few)),
        ("device", lambda: conduct.device(examined, few, accelerator)),
        ("heads", lambda: optimizer.checks(examined)),
        ("single gradients", lambda: compare.summed(examined, few)),
        ("scale", lambda: properties.scale(examined, few)),
        ("update", lambda: _update(examined, matrices)),
        ("properties", lambda: properties.properties(examined, few)),
    ]
    results = [_shape(examined)]
    for name, check in checks:
        outcome = attempt(name, check)
        results.extend(outcome if isinstance(outcome, list) else [outcome])
    return Certificate(spec, results, {})


def _comparable(method: Method) -> Method:
    without_trainer(method)
    if not method.joint or method.reads == "cross_gram" or method.gram_of != "shared":
        raise UsageError(
            f"--as {method.spec}: it is no function of one batch's gradients, so there is nothing to compare"
        )
    return method


def _shape(examined: Examined) -> Result:
    tasks = f"{examined.fewest_tasks} to {examined.most_tasks}"
    if examined.fewest_tasks == examined.most_tasks:
        tasks = str(examined.most_tasks)
    held = "no published method" if examined.claimed is None else examined.claimed.spec
    return observed("shape", f"{examined.shape}; tried with {tasks} tasks; held to {held}")


def _update(examined: Examined, matrices: int) -> list[Result]:
    """Compare with the claimed method; where it is PCGrad and differs, say what is wrong."""
    results = compare.update(examined, matrices)
    name = "" if examined.claimed is None else examined.claimed.name
    if name == "pcgrad" and results[0].passed is False:
        cause = diagnose(examined)
        if cause is not None:
            results.append(cause)
    return results
