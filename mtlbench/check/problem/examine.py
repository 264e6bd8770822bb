"""Checks of a problem: each trains a few steps, and compares what must be the same."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import numpy as np
import torch

from mtlbench.check.problem.subject import STEPS, Subject, disturb, trace
from mtlbench.check.result import Result, not_claimed, observed
from mtlbench.contract.method import Method
from mtlbench.contract.method_output import tell_after
from mtlbench.contract.observation import Vector
from mtlbench.contract.problem import Target
from mtlbench.errors import UsageError
from mtlbench.plan.conditions import check_methods
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.interface import Session
from mtlbench.problem.weights import state_fingerprint
from mtlbench.training.state_codec import flatten, unflatten
from mtlbench.training.train import Training

RESUMED = ("pcgrad", "famo")
"""Methods with random numbers, and with a state and losses after the step."""
FAMILIES = {
    "losses": "losses",
    "gram": "inner products",
    "gram of last_shared_layer": "of the last layer",
    "gram of representation": "of representation",
    "gradients": "gradients",
    "cross_gram": "further batches",
}
"""What methods of a family read → name of its check."""
SEEDS = 3
"""Seeds whose batches are drawn for all steps of the problem's recipe."""
TIMED = ("sum", "pcgrad")
CALLS = 10
"""Timed steps."""


def initial(subject: Subject) -> list[Result]:
    """Two models of a seed have the same weights; those of another seed have others."""
    loaded = subject.loaded
    hooks = Hooks(loaded.problem, loaded.tasks)

    def weights(seed: int) -> str:
        model = hooks.model(seed, torch.device("cpu"))
        return state_fingerprint([*model.parameters(), *model.buffers()])

    first = weights(0)
    disturb()
    if weights(0) != first:
        return [Result("model", False, "two models of one seed have different weights: draw them by torch, unseeded")]
    results = [Result("model", True, "two models of one seed have the same weights")]
    if weights(1) == first:
        detail = "all seeds have the same weights: draw them by torch without a seed of your own, unless that is meant"
        results.append(observed("seeds", detail))
    return results


def batches(subject: Subject) -> Result:
    """With the problem's own recipe, every batch has a label of every task; the first of them are tried elsewhere."""
    workload = subject.declared()
    for seed in range(SEEDS):
        workload.problem.prepare(workload.recipe, subject.method("sum"), seed)
    size = f"{workload.steps} steps of {workload.recipe.batch_size} rows"
    return Result("batches", True, f"{size}, {SEEDS} seeds: every batch has a label of every task")


def repeated(subject: Subject) -> Result:
    """Two trainings of a seed are the same, whatever else the process draws."""
    first = trace(Training(subject.load(), subject.method("sum"), 0), STEPS // 2)
    disturb()
    second = trace(Training(subject.load(), subject.method("sum"), 0), STEPS // 2)
    difference = first.difference(second)
    if difference is not None:
        return Result("repeatable", False, f"two trainings of one seed differ in {difference}")
    return Result("repeatable", True, f"two trainings of one seed have the same bits after {STEPS // 2} steps")


def paired(subject: Subject) -> Result:
    """Methods, and single-task models, begin with the same weights, batches and random numbers."""
    every = range(len(subject.tasks))
    reference = subject.session("sum", every)
    other = subject.session("pcgrad", every)
    first: dict[str, Any] = dict(reference.pairing)
    second: dict[str, Any] = dict(other.pairing)
    for what in _WORDS:
        if first[what] != second[what]:
            return Result("pairing", False, f"sum and pcgrad differ in {_WORDS[what]}")
    losses = _losses(subject, reference, "sum")
    if not np.array_equal(losses, _losses(subject, other, "pcgrad")):
        return Result("pairing", False, "sum and pcgrad have other losses in their first step")
    for position, task in enumerate(subject.tasks):
        alone = subject.session("stl", [position])
        own: dict[str, Any] = dict(alone.pairing)
        for what in _WORDS:
            if own[what] != (first[what] if what == "shared" else {task: first[what][task]}):
                return Result("pairing", False, f"the model of task {task} alone differs in {_WORDS[what]}")
        if _losses(subject, alone, "stl")[0] != losses[position]:
            return Result("pairing", False, f"the model of task {task} alone has another loss in its first step")
    return Result("pairing", True, "sum, pcgrad and each task alone: same weights, batches, random numbers, losses")


_WORDS = {
    "shared": "the initial shared weights",
    "heads": "the initial weights of the heads",
    "schedule": "the rows of the batches",
    "dropout": "the random numbers of the first forward pass",
}


def _losses(subject: Subject, session: Session, name: str) -> Vector:
    return session.step(subject.method(name), 0, measure=False).losses


def single_task(subject: Subject) -> Result:
    """One model a task can be trained and scored: the single-task baseline."""
    training = Training(subject.load(steps=2), subject.method("stl"), 0)
    for _ in training.run():
        pass
    scored = training.result().scores["dev"]
    return Result("single task", True, f"one model each for {', '.join(scored)}")


def resumed(subject: Subject) -> Result:
    """A training that goes on from its saved state is the one without a stop."""
    names = [name for name in RESUMED if _refusal(subject, subject.method(name)) is None]
    for name in names:
        whole = trace(Training(subject.load(), subject.method(name), 0), STEPS)
        begun = Training(subject.load(), subject.method(name), 0)
        for done in begun.run():
            if done == STEPS // 2:
                break
        tree, tensors = flatten(begun.state_dict())  # as a checkpoint holds it
        resumed = Training(subject.load(), subject.method(name), 0)
        resumed.load_state_dict(unflatten(json.loads(json.dumps(tree)), tensors))
        disturb()
        difference = whole.difference(trace(resumed, STEPS))
        if difference is not None:
            detail = (
                f"{name}: resumed after step {STEPS // 2}, it differs in {difference}: keep state in the model alone"
            )
            return Result("resume", False, detail)
    return Result("resume", True, f"{' and '.join(names)}: saved after step {STEPS // 2} and resumed, the same bits")


def evaluated(subject: Subject) -> Result:
    """An evaluation returns what the tasks declare, twice the same, and changes nothing."""
    session = subject.session("sum", range(len(subject.tasks)))
    method = subject.method("sum")
    session.step(method, 0, measure=False)
    tensors = [*session.model.parameters(), *session.model.buffers()]
    before = state_fingerprint(tensors)
    (scores, outputs, _), (_, again, _) = session.evaluate("dev", 1), session.evaluate("dev", 1)
    if state_fingerprint(tensors) != before:
        return Result("evaluation", False, "it changes the model: use no running statistics in evaluation mode")
    if not session.model.training:
        return Result("evaluation", False, "it leaves the model in evaluation mode")
    for target in subject.loaded.tasks:
        if list(scores[target.name]) != list(target.metrics):
            return Result("evaluation", False, f"task {target.name} has no score of {', '.join(target.metrics)}")
        if not _same(target, outputs[target.name], again[target.name]):
            return Result("evaluation", False, f"task {target.name}: two evaluations have different outputs")
    seldom = trace(Training(subject.load(evaluations=1), subject.method("sum"), 0), STEPS)
    often = trace(Training(subject.load(evaluations=STEPS), subject.method("sum"), 0), STEPS)
    for name, tensor in seldom.tensors.items():
        if not torch.equal(tensor, often.tensors[name]):
            return Result("evaluation", False, f"with an evaluation after every step, {name} ends with other values")
    return Result("evaluation", True, "scores as declared, twice the same; the model and its training do not change")


def _same(target: Target, one: object, other: object) -> bool:
    first, second = np.asarray(one), np.asarray(other)
    return first.size == len(first) * target.outputs and first.tobytes() == second.tobytes()


def families(subject: Subject) -> list[Result]:
    """Methods of every family take a step; a family that the problem refuses is not a fault."""
    by_family: dict[str, list[str]] = {family: [] for family in FAMILIES}
    refused: dict[str, str] = {}
    seen = set()
    for name in sorted(subject.registry.methods):
        try:
            method = subject.method(name)
        except UsageError:  # a parameter is required
            continue
        family = _family(method)
        form = (family, method.returns, type(method).heads, method.reads_losses, method.reads_after, method.joint)
        reason = _refusal(subject, method)
        if reason is not None:
            refused.setdefault(family, reason)
        elif form not in seen:
            seen.add(form)
            by_family[family].append(name)
    return [_stepped(subject, family, names, refused.get(family)) for family, names in by_family.items()]


def _stepped(subject: Subject, family: str, names: list[str], reason: str | None) -> Result:
    check = f"methods: {FAMILIES[family]}"
    if not names:
        return not_claimed(check, reason or "no method")
    for name in names:
        method = subject.method(name)
        session = subject.session(name, range(len(subject.tasks)) if method.joint else [0])
        try:
            session.step(method, 0, measure=True)
            if method.reads_after:
                tell_after(method, session.losses_after(0))
        except Exception as error:  # a method or the author's code may raise anything
            return Result(check, False, f"{name}: {error}")
    return Result(check, True, f"a step of {', '.join(names)}")


def _family(method: Method) -> str:
    if method.reads == "gram" and method.gram_of != "shared":
        return f"gram of {method.gram_of}"
    return method.reads


def _refusal(subject: Subject, method: Method) -> str | None:
    try:
        check_methods([method], len(subject.tasks))
        subject.loaded.accept(subject.workload.recipe, method)
    except UsageError as error:
        return str(error)
    return None


def timed(subject: Subject) -> Result:
    """Measure a step's time on the CPU."""
    parts = []
    for name in TIMED:
        method = subject.method(name)
        session = subject.session(name, range(len(subject.tasks)))
        times = []
        for step in range(CALLS + 1):
            begun = time.perf_counter()
            session.step(method, step % STEPS, measure=False)
            times.append(time.perf_counter() - begun)
        parts.append(f"{name} {1e3 * statistics.median(times[1:]):.2g} ms")
    return observed("step time", f"{', '.join(parts)} on one core, without the optimizer")
