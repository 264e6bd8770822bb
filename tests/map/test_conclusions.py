"""Conclusions of made maps: each statement in every direction, and no number that is not in the map."""

from __future__ import annotations

import re

import numpy as np
import pytest
from page_maps import SHARES, World, best, cosine, loss, made_map

from mtlbench.map.conclusions import KINDS, conclusions, verdict
from mtlbench.map.result import MapResult
from mtlbench.map.statements import balance, knobs, trials, weights
from mtlbench.map.statements.statement import Answer, Statement, answer_of
from mtlbench.map.tally import CONTROLS, Comparisons, Shown, Tally

STUDY = {
    "step-rule": "steps",
    "budget": "trials",
    "conflict": "width-relatedness",
    "three-conditions": "three-conditions",
    "sharing": "rows-relatedness",
}
"""The study that a statement reads; the others read that of loss and noise ratios."""
METHODS = [method for method in SHARES if method not in CONTROLS]
CALM = World(hurry={})
"""A world in which short training favours nobody."""


def ahead(amount: float, *methods: str) -> World:
    """A world in which some methods are better in every cell, at any length of training up to 1200 steps."""
    return World(hurry=dict.fromkeys(methods, amount / np.exp(-1000 / 300)))


CASES: list[tuple[str, Answer, World]] = [
    ("pool", "yes", World()),
    ("pool", "no", World().with_share(lambda s: best(s) + 8.0)),
    ("pool", "both", World().with_share(lambda s: 0.0, "uw")),
    ("tuned", "no", World().with_share(lambda s: best(s) + 8.0)),
    ("balanced", "no", World()),
    ("balanced", "yes", ahead(0.3, "famo")),
    ("normalisation", "yes", World()),
    ("normalisation", "no", World().with_share(lambda s: 3.0 * loss(s), "unit-gradients")),
    ("normalisation", "open", CALM.with_share(loss, "unit-gradients")),
    ("beyond-normalisation", "yes", World()),
    ("beyond-normalisation", "no", World().with_share(lambda s: 6.0, *SHARES).with_share(best, "unit-gradients")),
    ("beyond-normalisation", "open", CALM.with_share(lambda s: 0.0)),
    ("sign", "yes", World()),
    ("sign", "no", ahead(0.3, *METHODS).with_share(best)),
    ("metric", "yes", World()),
    ("metric", "no", ahead(1.5, *METHODS)),
    ("metric", "open", World().with_share(lambda s: np.sign(loss(s) or 1.0) * 6.0)),
    ("step-rule", "no", World()),
    ("step-rule", "yes", World(hurry={"nash-mtl": 0.5})),
    ("step-rule", "open", CALM.with_share(loss)),
    ("budget", "yes", World().with_share(loss, "pcgrad")),
    ("budget", "no", World().with_share(lambda s: 0.8 * loss(s))),
    ("budget", "open", CALM.with_share(loss)),
    ("conflict", "no", World()),
    ("conflict", "yes", World(hurry={}, conflict=-0.5)),
    ("conflict", "open", CALM),
    ("three-conditions", "yes", World(curvature=0.4)),
    ("three-conditions", "no", World(curvature=-0.2).with_share(lambda s: 0.3 * loss(s), "pcgrad")),
    ("three-conditions", "open", CALM.with_share(loss)),
    ("sharing", "yes", World()),
    ("sharing", "no", World(sharing=-0.4)),
    ("sharing", "open", World(sharing=0.0)),
]


ASKED = {
    "pool": weights.pool_best,
    "every-pool": weights.every_pool,
    "tuned": weights.tuned_weights,
    "balanced": balance.balanced,
    "normalisation": balance.normalisation,
    "beyond-normalisation": weights.beyond_normalisation,
    "sign": balance.sign,
    "step-rule": knobs.step_rule,
    "budget": trials.budget,
    "metric": weights.metric,
    "conflict": knobs.conflict,
    "predictor": knobs.predictor,
    "three-conditions": knobs.three_conditions,
    "sharing": knobs.sharing,
}


def statement(name: str, result: MapResult) -> Statement:
    found = ASKED[name](Comparisons(result))
    assert found is not None and found.name == name
    return found


@pytest.mark.parametrize(("name", "answer", "world"), CASES, ids=[f"{name}-{answer}" for name, answer, _ in CASES])
def test_each_statement_follows_the_data_in_every_direction(name: str, answer: Answer, world: World) -> None:
    found = statement(name, made_map(world, studies=[STUDY.get(name, "loss-noise")]))
    assert found.answer == answer, found
    assert found.question.endswith("?") and found.rule.endswith(".")


def test_what_predicts_a_gain_is_the_measurement_that_made_it() -> None:
    studies = ["loss-noise", "width-relatedness"]
    assert statement("predictor", made_map(studies=studies)).answer == "yes"
    by_conflict = World(conflict=-1.0, hurry={}).with_share(loss)
    assert statement("predictor", made_map(by_conflict, studies=studies)).answer == "no"


def test_a_gain_over_plain_fixed_weights_that_is_the_step_rules_is_called_so() -> None:
    """si beats plain fixed weights in a world where the logarithm of the loss does, and not those on the logarithm."""
    log = 0.4 / np.exp(-1000 / 300)
    for leader, answer in (({"log-sum": log, "si": log}, "no"), ({"si": log}, "yes")):
        result = made_map(
            World(hurry=leader).with_share(lambda s: best(s) + 0.8, "si"), name="full", studies=["loss-noise"]
        )
        found = statement("every-pool", result)
        assert found.answer == answer
        assert re.search(r"si \d+ \(of (\d+) against plain", found.text)[1] == "28"  # type: ignore[index]


def test_every_gain_in_a_sentence_is_in_the_map() -> None:
    result = made_map()
    comparisons, known = Comparisons(result), set[str]()
    for study in result.studies.values():
        for comparator in study.comparators:
            gains = comparisons.gains(study.name, comparator.spec) or ()
            known |= {gain.text for gain in gains}
        for cell in study.cells:
            if cell.pools:
                curve = result.budget_curve(study.name, cell.setting, search="random")
                known |= {Shown(gain).text for gain in curve}
    quoted = {text for found in conclusions(result) for text in re.findall(r"[+−]\d+ \[[^\]]+\]", found.text)}
    assert len(quoted) > 20
    assert quoted <= known


def test_all_statements_of_a_complete_map() -> None:
    found = conclusions(made_map(name="full", world=World(seeds=4)))
    assert [one.name for one in found] == list(ASKED) and list(ASKED.values()) == list(KINDS)
    for one in found:
        assert not re.search(r"\bnan\b|\binf\b|None(?! of)|  ", one.short + one.text), one


def test_too_few_seeds_support_no_conclusion() -> None:
    result = made_map(World(seeds=3), studies=["loss-noise"])
    assert conclusions(result) == []
    assert verdict([], result) == ["With 3 seeds no difference is claimed: it takes 4. Train more seeds."]


def test_a_verdict_of_few_studies_has_what_they_say() -> None:
    result = made_map(studies=["rows-relatedness"])
    found = conclusions(result)
    assert [one.name for one in found] == ["sharing"]
    assert verdict(found, result) == [found[0].short]
    assert verdict([], MapResult({})) == ["The map has no cells."]


@pytest.mark.parametrize(
    ("won", "lost", "cells", "answer"),
    [(3, 0, 5, "yes"), (0, 2, 15, "no"), (1, 1, 5, "both"), (0, 0, 5, "open"), (1, 0, 15, "open"), (1, 4, 15, "no")],
)
def test_one_cell_of_many_is_no_evidence(won: int, lost: int, cells: int, answer: Answer) -> None:
    assert answer_of(Tally(won, lost, cells, 0.0, 0.0, 0.0)) == answer


def test_cosines_of_the_made_map_are_measured() -> None:
    found = statement("conflict", made_map(studies=["width-relatedness"]))
    assert "4 cells with cosines from −0.8" in found.text
    assert cosine(made_map(studies=["width-relatedness"]).studies["width-relatedness"].settings[0]) == -0.8
