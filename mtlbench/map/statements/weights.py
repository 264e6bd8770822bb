"""Statements about methods against normalisation alone and against tuned fixed weights."""

from __future__ import annotations

from mtlbench.map.endpoints import LABELS as ENDPOINTS
from mtlbench.map.result import Study
from mtlbench.map.statements.statement import SINGLE, Statement, enough, grouped, groups, number_of, sides
from mtlbench.map.tally import NORMALISED, Comparisons, candidates, count_of, joined, phrase, plural

POOL = "fixed[trials=all]"
TUNED = "fixed[trials=8]"


def beyond_normalisation(comparisons: Comparisons) -> Statement | None:
    """Ask whether methods gain anything that normalisation alone does not.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    return None if study is None else _against(
        comparisons,
        study,
        NORMALISED,
        "beyond-normalisation",
        "Do methods gain what normalisation alone does not?",
    )  # fmt: skip


def pool_best(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method beats the best of all fixed weights that were trained.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    return None if study is None else _against(
        comparisons, study, POOL, "pool", "Does a method beat the best of all fixed weights?"
    )  # fmt: skip


def tuned_weights(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method beats fixed weights that are tuned with a few more trials.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
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
        f"Won/lost of {cells} cells: {grouped(tallies)}; {sides(gains)}.",
        "Yes if a method is separably better in some cells and worse in none. It depends if each that is better"
        " somewhere is worse elsewhere. No if none is better and one is worse. Otherwise nothing is separable."
        f" {SINGLE}",
    )


def every_pool(comparisons: Comparisons) -> Statement | None:
    """Ask whether a method beats fixed weights of every step rule: a gain over plain ones alone may be the step rule's.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    pools = [c.spec for c in study.comparators if c.kind == "fixed" and c.trials == "all"] if study else []
    if study is None or len(pools) < 2:
        return None
    won: dict[str, int] = {}
    parts = []
    for method in candidates(study):
        by_pool = [comparisons.of(study.name, pool, method) for pool in pools]
        won[method] = sum(all(s in gains and gains[s].won for gains in by_pool) for s in study.settings)
        plain = sum(gain.won for gain in by_pool[0].values())
        if plain:
            parts.append(f"{method} {won[method]} (of {plain} against plain fixed weights)")
    winners = [method for method, cells in won.items() if enough(cells, len(study.cells))]
    gains = [g for pool in pools for g in comparisons.gains(study.name, pool) or ()]
    return Statement(
        "every-pool",
        "Does a method beat the best fixed weights of every step rule?",
        "yes" if winners else "no",
        f"{count_of(len(winners), len(won)).capitalize()} separably better, in some cell, than the best fixed weights"
        f" of each of {len(pools)} step rules" + (f": {joined(winners)}." if winners else "."),
        f"Cells of {len(study.cells)} won against all {len(pools)} pools at once: {'; '.join(parts) or 'none'};"
        f" {sides(gains)}.",
        f"Yes if there are cells in which a method is separably better than each pool's best, otherwise no. {SINGLE}",
    )


def metric(comparisons: Comparisons) -> Statement | None:
    """Ask whether the endpoint decides who beats the best fixed weights.

    :param comparisons: gains of the map.
    """
    study = comparisons.headline
    comparator = next((c.spec for c in study.comparators if c.spec == POOL), "sum") if study else ""
    if study is None or not comparisons.gains(study.name, comparator):
        return None
    counts = {e: comparisons.tallies(study.name, comparator, e) for e in study.endpoints}
    tested = [method for method in candidates(study) if all(method in tallies for tallies in counts.values())]
    winning = {method: [tallies[method].won for tallies in counts.values()] for method in tested}
    cells = len(study.cells)
    winners = [method for method, won in winning.items() if any(enough(count, cells) for count in won)]
    changed = [method for method in winners if not all(winning[method])]
    steady = [method for method in winners if all(winning[method])]
    shown = changed + steady
    listed = "; ".join(f"{m} " + ", ".join(counts[e][m].score for e in counts) for m in shown)
    order = ", ".join(ENDPOINTS[e] for e in counts)
    return Statement(
        "metric",
        "Does the choice of the metric decide who wins?",
        "yes" if changed else "no" if steady else "open",
        f"Against {phrase(comparator)}, {count_of(len(changed), len(tested))} separably better in some cells under some"
        f" of {len(counts)} metrics and in no cell under others" + (f": {joined(changed)}." if changed else "."),
        (f"Won/lost of {cells} cells by {order}: {listed}." if shown else f"No method wins one of {cells} cells.")
        + " Learning rates and weights are always chosen by the first.",
        f"Yes if a method is separably better in some cells under one metric and in none under another. {SINGLE}",
    )
