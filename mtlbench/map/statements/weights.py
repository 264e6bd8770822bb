"""Statements about the map of loss and noise ratios: is there something to gain, and over what?"""

from __future__ import annotations

from mtlbench.map.cells import Setting
from mtlbench.map.endpoints import LABELS as ENDPOINTS
from mtlbench.map.result import Study
from mtlbench.map.statements.statement import (
    SIDES,
    Statement,
    answer_of,
    grouped,
    groups,
    named,
    number_of,
    span,
)
from mtlbench.map.tally import (
    Comparisons,
    Shown,
    Tally,
    candidates,
    count_of,
    joined,
    phrase,
    plural,
    points,
)

MOST_DETAILED = 4
"""Most methods that a sentence describes one by one."""
UNEQUAL = 10.0
"""Loss ratio from which on, either way, losses count as unequal."""
POOL = "fixed[trials=all]"
TUNED = "fixed[trials=8]"


def headline(comparisons: Comparisons) -> Study | None:
    """Return the study over loss ratio and noise ratio.

    :param comparisons: gains of the map.
    """
    return comparisons.over("loss_ratio", "noise_ratio")


def balanced(comparisons: Comparisons) -> Statement | None:
    """Ask whether there is something to gain with equal losses and equal noise.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    if study is None:
        return None
    comparator = best_sum(study)
    gains = [
        gain
        for gain in comparisons.gains(study.name, comparator) or ()
        if gain.gain.method in candidates(study) and _ratio(gain.gain.setting) == gain.gain.setting.noise_ratio == 1.0
    ]
    if not gains:
        return None
    won, lost = [gain for gain in gains if gain.won], [gain for gain in gains if gain.lost]
    short = (
        f"With equal losses and equal noise, {count_of(len(won), len(gains))} separably better than"
        f" {phrase(comparator)}, and {len(lost) or 'none'} worse."
    )
    text = f"Gains range from {span(gains)}; {_sides(gains)}."
    text += f" Better: {named(won)}." if won else ""
    text += f" Worse: {named(lost)}." if lost else ""
    return Statement(
        "balanced",
        "Is there anything to gain where losses and noise are equal?",
        "yes" if won else "no",
        short,
        text,
        "Yes if a method is separably better in that cell, otherwise no.",
    )


def normalisation(comparisons: Comparisons) -> Statement | None:
    """Ask whether normalising task gradients, without surgery, beats the equal sum under unequal losses.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    if study is None:
        return None
    found = comparisons.of(study.name, "sum", "normalized-sum")
    gains = [g for s, g in found.items() if s.noise_ratio == 1.0 and max(_ratio(s), 1.0 / _ratio(s)) >= UNEQUAL]
    if not gains:
        return None
    tally = Tally.of(gains)
    cells = [f"{gain.text} at loss ratio {gain.gain.setting.loss_ratio:g}" for gain in gains]
    return Statement(
        "normalisation",
        "Where losses are unequal, is it enough to normalise the tasks' gradients?",
        answer_of(tally.won, tally.lost),
        f"With losses unequal by {UNEQUAL:g} or more and equal noise, normalising the gradients alone is separably"
        f" better than the equal sum in {tally.won or 'none'} of {plural(tally.cells, 'cell')}, and worse in"
        f" {tally.lost or 'none'}.",
        f"normalized-sum: {', '.join(cells)}; {_sides(gains)}.",
        SIDES,
    )


def beyond_normalisation(comparisons: Comparisons) -> Statement | None:
    """Ask whether methods gain anything that normalisation alone does not.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    return None if study is None else _against(
        comparisons,
        study,
        "normalized-sum",
        "beyond-normalisation",
        "Do methods gain what normalisation alone does not?",
    )  # fmt: skip


def pool_best(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method beats the best of all fixed weights that were trained.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    return None if study is None else _against(
        comparisons, study, POOL, "pool", "Does a method beat the best of all fixed weights?"
    )  # fmt: skip


def tuned_weights(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method beats fixed weights that are tuned with a few more trials.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    return None if study is None else _against(
        comparisons, study, TUNED, "tuned", "Does a method beat fixed weights with a small budget for tuning?"
    )  # fmt: skip


def _against(comparisons: Comparisons, study: Study, comparator: str, name: str, question: str) -> Statement | None:
    """Return the statement that sorts all methods by what they do against one comparator."""
    all_tallies = comparisons.tallies(study.name, comparator)
    tallies = {method: all_tallies[method] for method in candidates(study) if method in all_tallies}
    if not tallies:
        return None
    gains = [g for g in comparisons.gains(study.name, comparator) or () if g.gain.method in tallies]
    by_answer = groups(tallies)
    winners = [f"{method} ({tallies[method].score})" for method in (*by_answer["yes"], *by_answer["both"])]
    cells = next(iter(tallies.values())).cells
    budget = number_of((g.gain.comparator_trials for g in gains), "trial")
    against = phrase(comparator) + ("" if budget in phrase(comparator) else f" ({budget})")
    return Statement(
        name,
        question,
        next((answer for answer in ("yes", "both", "no") if by_answer[answer]), "open"),
        f"Against {against}, {count_of(len(winners), len(tallies))} separably better in some of {plural(cells, 'cell')}"
        + (f": {joined(winners)}, cells won and lost." if winners else "."),
        f"Won/lost of {cells} cells: {grouped(tallies)}; {_sides(gains)}.",
        "Yes if a method is separably better in a cell and worse in none. It depends if each that is better somewhere"
        " is worse elsewhere. No if none is better and one is worse. Otherwise nothing is separable.",
    )


def every_pool(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method beats fixed weights of every step rule: a gain over plain ones alone may be the step rule's.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    pools = [c.spec for c in study.comparators if c.kind == "fixed" and c.trials == "all"] if study else []
    if study is None or len(pools) < 2:
        return None
    won: dict[str, list[str]] = {}
    for method in candidates(study):
        by_pool = [comparisons.of(study.name, pool, method) for pool in pools]
        cells = [s for s in study.settings if by_pool and all(s in gains and gains[s].won for gains in by_pool)]
        plain = sum(gain.won for gain in by_pool[0].values())
        won[method] = [f"{method} {len(cells)} (of {plain} against plain fixed weights)"] if cells or plain else []
    winners = [method for method, parts in won.items() if parts and not parts[0].startswith(f"{method} 0 ")]
    listed = "; ".join(part for parts in won.values() for part in parts)
    gains = [g for pool in pools for g in comparisons.gains(study.name, pool) or ()]
    return Statement(
        "every-pool",
        "Does a method beat the best fixed weights of every step rule?",
        "yes" if winners else "no",
        f"{count_of(len(winners), len(won)).capitalize()} separably better, in some cell, than the best fixed weights"
        f" of each of {len(pools)} step rules" + (f": {joined(winners)}." if winners else "."),
        f"Cells of {len(study.cells)} won against all {len(pools)} pools at once: {listed or 'none'}; {_sides(gains)}.",
        "Yes if there is a cell in which a method is separably better than each pool's best, otherwise no.",
    )


def sign(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method helps in one part of the map and harms in another.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    if study is None or not comparisons.gains(study.name, "sum"):
        return None
    tallies = comparisons.tallies(study.name, "sum")
    tested = [method for method in candidates(study) if method in tallies]
    turning = [method for method in tested if tallies[method].won and tallies[method].lost]
    turning.sort(key=lambda method: -min(tallies[method].won, tallies[method].lost))
    parts = []
    for method in turning[:MOST_DETAILED]:
        gains = list(comparisons.of(study.name, "sum", method).values())
        sides = [[g for g in gains if g.won], [g for g in gains if g.lost]]
        where = [f"{len(side)} (median loss ratio {_middle(side):g})" for side in sides]
        extremes = f"{min(gains, key=lambda g: g.mean).text} to {max(gains, key=lambda g: g.mean).text}"
        parts.append(f"{method} wins {where[0]} and loses {where[1]} of {len(gains)} cells, {extremes}")
    ranges = "; ".join(
        f"{m} {tallies[m].score}, {points(tallies[m].least)} to {points(tallies[m].most)}" for m in tested
    )
    listed = "; ".join(parts) if parts else f"Won/lost and range of gains: {ranges}"
    return Statement(
        "sign",
        "Does a method help in one part of the map and harm in another?",
        "yes" if turning else "no",
        f"Against the equal sum, {count_of(len(turning), len(tested))} separably better in some cells and worse in"
        " others" + (f": {joined(turning)}." if turning else "."),
        f"{listed}. The last task is the noisier one: a loss ratio above 1 makes it the louder one too.",
        "Yes if a method is separably better than the equal sum in one cell and worse in another, otherwise no.",
    )


def metric(comparisons: Comparisons) -> Statement | None:
    """Ask whether the endpoint decides who beats the best fixed weights.

    :param comparisons: gains of the map.
    """
    study = headline(comparisons)
    comparator = next((c.spec for c in study.comparators if c.spec == POOL), "sum") if study else ""
    if study is None or not comparisons.gains(study.name, comparator):
        return None
    counts = {e: comparisons.tallies(study.name, comparator, e) for e in study.endpoints}
    tested = [method for method in candidates(study) if all(method in tallies for tallies in counts.values())]
    winning = {method: [tallies[method].won for tallies in counts.values()] for method in tested}
    changed = [method for method, won in winning.items() if any(won) and not all(won)]
    steady = [method for method, won in winning.items() if all(won)]
    shown = changed + steady
    listed = "; ".join(f"{m} " + ", ".join(counts[e][m].score for e in counts) for m in shown)
    order = ", ".join(ENDPOINTS[e] for e in counts)
    cells = len(study.cells)
    return Statement(
        "metric",
        "Does the choice of the metric decide who wins?",
        "yes" if changed else "no" if steady else "open",
        f"Against {phrase(comparator)}, {count_of(len(changed), len(tested))} separably better in some cells under some"
        f" of {len(counts)} metrics and in no cell under others" + (f": {joined(changed)}." if changed else "."),
        (f"Won/lost of {cells} cells by {order}: {listed}." if shown else f"No method wins one of {cells} cells.")
        + " Learning rates and weights are always chosen by the first.",
        "Yes if a method is separably better in at least one cell under one metric and in none under another.",
    )


def best_sum(study: Study) -> str:
    """Return the strongest equal sum of a study: that with the best step rule where all three were trained.

    :param study: the study.
    """
    return next((c.spec for c in study.comparators if c.kind == "step-rules"), "sum")


def _ratio(setting: Setting) -> float:
    return float(setting.loss_ratio)


def _middle(gains: list[Shown]) -> float:
    ratios = sorted(gain.gain.setting.loss_ratio for gain in gains)
    return float(ratios[len(ratios) // 2])


def _sides(gains: list[Shown]) -> str:
    trials = number_of((gain.gain.trials for gain in gains), "trial")
    against = number_of((gain.gain.comparator_trials for gain in gains), "trial")
    return f"{number_of((gain.gain.seeds for gain in gains), 'seed')}, {trials} against {against}"
