"""Foreign code: right implementations pass, and each wrong one is told what is wrong, in words."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import get_method
from mtlbench.check import robust
from mtlbench.check.foreign import check_foreign, compare, conduct, distribution, optimizer, properties
from mtlbench.check.foreign.borrowed import Examined, examine
from mtlbench.check.foreign.distribution import conflicting, nearest
from mtlbench.check.foreign.pcgrad import FAULTS, Variant, diagnose, outcomes, telling
from mtlbench.check.result import Result
from mtlbench.errors import UsageError

FILE = str(Path(__file__).with_name("foreign_code.py"))


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "DRAWS", 60)
    monkeypatch.setattr(robust, "DRAWS", 100)


def examined(name: str, method: str | None = "pcgrad") -> Examined:
    place = name if ":" in name else f"{FILE}:{name}"
    return examine(place, None if method is None else get_method(method))


def assert_result(result: Result, mark: str, words: str) -> None:
    assert result.mark == mark and words in result.detail, result


# Faults of the update, by name


CAUSES = {
    "summed": "no surgery",
    "norm_not_squared": "wrong norm: it divides by ‖gⱼ‖ where",
    "own_norm": "wrong norm: it divides by ‖gᵢ‖² of the projected",
    "cosine_norm": "wrong norm: it divides by ‖gᵢ‖‖gⱼ‖",
    "undivided": "wrong norm: it does not divide",
    "onto_projected": "changed in place",
    "in_place": "changed in place",
    "simultaneous": "inner products with the original gᵢ",
    "always": "do not conflict",
    "once": "only once",
    "adds": "wrong sign",
    "running_sums": "surgery on summed gradients: gradient i is g₁ + … + gᵢ",
}


@pytest.mark.parametrize("name", CAUSES)
def test_a_wrong_pcgrad_is_named(name: str) -> None:
    code = examined(name)
    cause = diagnose(code)
    assert cause is not None and compare.update(code, 3)[0].passed is False
    assert_result(cause, "FAIL", CAUSES[name])
    assert "; and " not in cause.detail  # one fault only


def test_two_faults_are_both_named() -> None:
    cause = diagnose(examined("running_sums_without_squares"))
    assert cause is not None and "‖gⱼ‖ where" in cause.detail and "g₁ + … + gᵢ" in cause.detail


def test_what_no_known_fault_explains_gets_no_name() -> None:
    assert diagnose(examined("cosine")) is None


@pytest.mark.parametrize("name", ["pcgrad", "pcgrad_of_tensor", "pcgrad_weights", "Wrapper", "Backward"])
def test_a_right_pcgrad_in_every_shape_is_pcgrad(name: str) -> None:
    first, second = compare.update(examined(name), 3)
    assert_result(first, "pass", "always an update of pcgrad:")
    reached, possible = re.findall(r"reaches (\d+) of the (\d+) updates", second.detail)[0]
    assert second.passed and reached == possible and int(possible) > 16


def test_the_mean_is_a_convention() -> None:
    code = examined("mean_pcgrad")
    first, second = compare.update(code, 3)
    assert_result(first, "pass", "divided by K (another convention, no fault)")
    assert second.passed
    assert_result(
        properties.scale(code, 3), "note", "another convention, no fault: 3 equal gradients g give their mean"
    )


def test_arguments_of_a_wrapper() -> None:
    mean, total = examined("Reduced[reduction=mean]"), examined("Reduced[reduction=sum]")
    assert_result(properties.scale(mean, 3), "note", "their mean, and their sum with pcgrad")
    assert_result(properties.scale(total, 3), "pass", "their sum, as with pcgrad")
    assert_result(optimizer.checks(mean)[0], "note", "heads get 1/K of their own gradients")


def test_a_fixed_order_is_named() -> None:
    code = examined("fixed_order")
    assert_result(compare.update(code, 3)[1], "FAIL", "always takes the same order")
    assert_result(conduct.order(code, 3), "FAIL", "depends on the order of the tasks")
    assert_result(conduct.order(examined("fixed_order", None), 3), "note", "give --as METHOD")


def test_a_method_that_depends_on_the_order_may() -> None:
    weighted = "torchjd.aggregation:ConstantWeighting[weights=1/2/3]"
    assert_result(conduct.order(examined(weighted, "fixed[w=1:2:3]"), 3), "note", "so does that of fixed")


def test_surgery_on_summed_gradients() -> None:
    words = "surgery on summed gradients: the update depends on the sum"
    assert_result(compare.summed(examined("summed"), 3), "FAIL", words)
    assert_result(compare.summed(examined("SumsFirst"), 3), "FAIL", words)
    assert_result(compare.summed(examined("summed", "sum"), 3), "note", "so does that of sum")
    assert_result(compare.summed(examined("summed", None), 3), "note", "a plain sum or mean")
    assert_result(compare.summed(examined("pcgrad"), 3), "pass", "single gradients")


def test_another_method_is_not_it() -> None:
    (result,) = compare.update(examined("summed", "mgda"), 3)
    assert_result(result, "FAIL", "not the update of mgda: largest relative difference")
    (result,) = compare.update(examined("summed", "mean"), 3)
    assert_result(result, "pass", "times K (another convention, no fault)")


def test_state_is_compared_over_steps() -> None:
    spec = "torchjd.aggregation:ExcessMTL[robust_step_size={},n_warmup_steps=1]"
    (right,) = compare.update(examined(spec.format("0.01"), "excess-mtl"), 3)
    assert_result(right, "pass", "the update of excess-mtl, divided by K")
    (wrong,) = compare.update(examined(spec.format("1.0"), "excess-mtl"), 3)  # equal in the first step
    assert_result(wrong, "FAIL", "not the update of excess-mtl")


# Conduct


@pytest.mark.parametrize(
    ("name", "check", "mark", "words"),
    [
        ("cosine", conduct.zero_gradient, "FAIL", "NaN or infinity where the gradient of a task is zero"),
        ("pcgrad", conduct.zero_gradient, "pass", "finite"),
        ("in_place", conduct.inputs, "FAIL", "changes the gradients that it is given in place"),
        ("shuffles_the_list", conduct.inputs, "FAIL", "changes the list"),
        ("pcgrad", conduct.inputs, "pass", "unchanged"),
        ("single_precision", conduct.precision, "FAIL", "loses the type"),
        ("single_precision_inside", conduct.precision, "FAIL", "rounds gradients of double precision"),
        ("weights_in_single_precision", conduct.precision, "FAIL", "loses the type"),
        ("as_python_numbers", conduct.precision, "note", "gradients of torch.float32, update of torch.float64"),
        ("pcgrad", conduct.precision, "pass", "single and double"),
        ("Momentum", conduct.state, "FAIL", "keeps state between calls"),
        ("momentum", conduct.state, "FAIL", "pcgrad keeps none"),
        ("pcgrad", conduct.state, "pass", "no state"),
    ],
)
def test_conduct(name: str, check: Callable[[Examined, int], Result], mark: str, words: str) -> None:
    assert_result(check(examined(name), 3), mark, words)


def test_state_is_only_noted_where_no_method_is_claimed() -> None:
    assert_result(conduct.state(examined("Momentum", None), 3), "note", "save it in checkpoints")


@pytest.mark.parametrize(
    ("name", "mark", "words"),
    [
        ("pcgrad", "note", "global generator of random: seed it with random.seed"),
        ("numpy_generator", "note", "global generator of numpy: seed it with numpy.random.seed"),
        ("torchjd.aggregation:Random", "note", "global generator of torch: seed it with torch.manual_seed"),
        ("unseeded", "FAIL", "cannot be repeated"),
        ("summed", "pass", "no global generator"),
    ],
)
def test_random_numbers(name: str, mark: str, words: str) -> None:
    assert_result(conduct.generators(examined(name)), mark, words)


def test_the_global_generators_are_left_as_they_were() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    conduct.order(examined("torchjd.aggregation:Random", None), 3)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # type: ignore[index]


def test_a_wrong_device_is_named() -> None:
    """On the meta device, which every machine has and no value can be read from."""
    assert_result(
        conduct.device(examined("on_the_cpu"), 3, "meta"), "FAIL", "wrong device: gradients on meta, update on cpu"
    )
    assert_result(conduct.device(examined("summed"), 3, "meta"), "pass", "update on meta")
    assert_result(conduct.device(examined("summed"), 3, "cpu"), "-", "not tested")


def test_properties() -> None:
    results = {result.check: result for result in properties.properties(examined("norm_not_squared"), 3)}
    assert_result(results["homogeneous"], "FAIL", "pcgrad has this property, this code does not")
    results = {result.check: result for result in properties.properties(examined("summed", "mgda"), 3)}
    assert_result(results["stationary"], "FAIL", "mgda has this property")
    assert_result(results["homogeneous"], "pass", "allowed")
    assert_result(results["linear under scaling"], "note", "not claimed, but holds")
    cagrad = examined("torchjd.aggregation:CAGrad[c=0.5]", "cagrad[c=0.5]")
    results = {result.check: result for result in properties.properties(cagrad, 3)}
    assert_result(results["homogeneous"], "note", "holds for gradients of ordinary lengths")


# Optimizers on a network with heads


HEADS = {
    "ProjectsHeads": ("heads", "FAIL", "projected heads: heads were combined together with the shared parameters"),
    "MixesHeads": ("heads", "FAIL", "gradients of other tasks' losses mixed into its own"),
    "ForgetsHeads": ("heads", "FAIL", "gets no gradient"),
    "FreesTheGraph": ("heads", "FAIL", "raises on a network with a trunk and heads"),
    "MeanOfHeads": ("heads", "note", "another convention, no fault"),
    "PerTensor": ("shared update", "FAIL", "each parameter tensor by itself"),
    "FillsZeros": ("unreached", "note", "zeros instead of None"),
    "StepsTwice": ("training loop", "FAIL", "the backward call itself changes parameters"),
    "KeepsGradients": ("training loop", "FAIL", "zero_grad() leaves gradients"),
    "DoesNotStep": ("training loop", "FAIL", "step() does not apply"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_wrong_wrapper_is_named(name: str) -> None:
    check, mark, words = HEADS[name]
    results = {result.check: result for result in optimizer.checks(examined(name))}
    assert_result(results[check], mark, words)
    others = [result for other, result in results.items() if other != check and name != "ProjectsHeads"]
    assert all(result.mark == "pass" for result in others), others


def test_norms_that_include_the_heads_are_named() -> None:
    for name in ("ProjectsHeads", "ProjectsHeadsInFixedOrder"):
        results = {result.check: result for result in optimizer.checks(examined(name))}
        assert_result(results["shared update"], "FAIL", "norms and inner products include the heads' gradients")


@pytest.mark.parametrize("name", ["Wrapper", "Backward"])
def test_a_right_wrapper_passes(name: str) -> None:
    assert [result.mark for result in optimizer.checks(examined(name))] == ["pass"] * 4


# The whole


def test_pc_backward_claims_pcgrad_by_its_name() -> None:
    certificate = check_foreign(f"{FILE}:ProjectsHeadsInFixedOrder", None, (), 3)
    results = {result.check: result for result in certificate.results}
    failed = {check for check, result in results.items() if result.passed is False}
    assert "held to pcgrad" in results["shape"].detail
    assert failed == {"order", "heads", "shared update", "random order"}


def test_command(mtlbench: Callable[..., Any]) -> None:
    good = mtlbench("check", "--foreign", "torchjd.aggregation:Mean", "--as", "mean", "--matrices", "3")
    assert good.returncode == 0 and "FAIL" not in good.stdout and "the update of mean" in good.stdout
    bad = mtlbench(
        "check", "--foreign", f"{FILE}:prints_and_warns", "--as", "mgda", "--matrices", "3", "--format", "json"
    )
    assert bad.returncode == 1
    (certificate,) = json.loads(bad.stdout)  # what the code prints is not on standard output
    assert not certificate["passed"] and {"note": True, "check": "scale"}.items() <= certificate["checks"][-7].items()


def test_markdown(mtlbench: Callable[..., Any]) -> None:
    page = mtlbench(
        "check", "--foreign", "torchjd.aggregation:Sum", "--as", "sum", "--matrices", "3", "--format", "markdown"
    ).stdout
    assert page.startswith("# torchjd.aggregation:Sum\n") and "| update | pass | the update of sum:" in page


def test_no_wrong_pcgrad_can_be_taken_for_another() -> None:
    """Nor for the right one: on some matrix of the diagnosis, an update of each is none of the other's."""
    variants = [Variant(), *(Variant(**changes) for changes, _ in FAULTS)]  # type: ignore[arg-type]
    matrices = telling(3)
    updates = [[np.array(list(outcomes(rows, variant))) for rows in matrices] for variant in variants]
    for (n, first), (m, second) in itertools.permutations(enumerate(updates), 2):
        farthest = max(float(nearest(one, other).max()) for one, other in zip(first, second, strict=True))
        assert farthest > 0.1, (variants[n], variants[m])


def test_matrices_of_the_comparison_conflict() -> None:
    for tasks in (1, 2, 3, 4):
        signs = [(rows @ rows.T < 0.0).sum() for rows in conflicting(tasks)]
        assert len(signs) == 4
        if tasks == 3:
            assert signs[:2] == [6, 6] and max(signs[2:]) < 6 and min(signs[2:]) >= 4


def test_methods_that_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="--as modo: it is no function of one batch's gradients"):
        check_foreign(f"{FILE}:pcgrad", "modo", (), 3)
    with pytest.raises(UsageError, match="--as dwa reads the losses"):
        check_foreign(f"{FILE}:pcgrad", "dwa", (), 3)
    with pytest.raises(UsageError, match="unknown method 'pcgard'"):
        check_foreign(f"{FILE}:pcgrad", "pcgard", (), 3)
