"""Statements about length of training, conflict, curvature and data, and about what predicts a gain."""

from __future__ import annotations

from statistics import median

from mtlbench.map import evidence
from mtlbench.map.cells import Setting
from mtlbench.map.statements.statement import (
    SIDES,
    Answer,
    Statement,
    answer_of,
    best_sum,
    in_cell,
    named,
    number_of,
    span,
)
from mtlbench.map.tally import Comparisons, Shown, Tally, candidates, count_of, phrase, plural, points

CONFLICT = -0.3
"""Cosine of two tasks' gradients up to which they count as conflicting."""
MARGIN = 0.1
"""How much more of the variance one measurement must explain to be called the better predictor."""


def step_rule(comparisons: Comparisons) -> Statement | None:
    """Ask whether what methods gain in short training is their own, or that of the step rule which they imply.

    :param comparisons: gains of the map.
    """
    study = comparisons.over("steps")
    if study is None or best_sum(study) == "sum" or len({s.steps for s in study.settings}) < 2:
        return None
    cells = [s for s in study.settings if s.loss_ratio == s.noise_ratio == 1.0]
    cells = [s for s in cells if s.optimizer == cells[0].optimizer]
    if not cells:
        return None
    short, long = min(cells, key=lambda s: s.steps), max(cells, key=lambda s: s.steps)
    plain, ruled, later = (
        in_cell(comparisons, study, comparator, setting)
        for comparator, setting in (("sum", short), (best_sum(study), short), ("sum", long))
    )
    won = [gain for gain in plain if gain.won]
    kept = [gain for gain in ruled if gain.won]
    answer: Answer = "open" if not won else "yes" if kept else "no"
    trials = number_of((gain.gain.comparator_trials for gain in ruled), "trial")
    rules = phrase(best_sum(study))
    return Statement(
        "step-rule",
        "Is what methods gain in short training their own?",
        answer,
        f"After {short.steps} steps with equal losses, {count_of(len(won), len(plain))} separably better than the equal"
        f" sum, and {len(kept) or 'none'} than {rules}.",
        (f"At {short.steps} steps against the equal sum: {named(won)}. " if won else "")
        + f"Against {rules} ({trials}): {span(ruled)}"
        + (f", separably better: {named(kept)}" if kept else "")
        + f". At {long.steps} steps, {count_of(sum(g.won for g in later), len(later))} separably better than the equal"
        f" sum, {span(later)}.",
        "Yes if a method is separably better than the equal sum with its best step rule in the shortest training; no if"
        " methods are better than the plain equal sum only.",
    )


def conflict(comparisons: Comparisons) -> Statement | None:
    """Ask whether conflicting gradients alone, with equal losses, make a method worthwhile.

    :param comparisons: gains of the map.
    """
    study = comparisons.over("width", "relatedness")
    if study is None:
        return None
    cosines = evidence.cosines(study)
    cells = [s for s in study.settings if s.loss_ratio == s.noise_ratio == 1.0 and cosines.get(s, 0.0) <= CONFLICT]
    gains = [gain for setting in cells for gain in in_cell(comparisons, study, best_sum(study), setting)]
    if not gains:
        return None
    tally = Tally.of(gains)
    low, high = (_minus(end(cosines[s] for s in cells)) for end in (min, max))
    return Statement(
        "conflict",
        "Do conflicting gradients alone make a method worthwhile?",
        answer_of(tally),
        f"With equal losses and gradients at a cosine of {_minus(CONFLICT)} or less, methods are separably better"
        f" than {phrase(best_sum(study))} in {tally.won or 'none'} of {tally.cells} comparisons, and worse in"
        f" {tally.lost or 'none'}.",
        f"{plural(len(cells), 'cell')} with cosines from {low} to {high}; gains from {span(gains)}, median"
        f" {points(tally.median)}.",
        SIDES,
    )


def predictor(comparisons: Comparisons) -> Statement | None:
    """Ask whether imbalance or conflict predicts what methods gain.

    :param comparisons: gains of the map.
    """
    studies = [s for s in (comparisons.headline, comparisons.over("width", "relatedness")) if s]
    features: dict[str, dict[Setting, float]] = {"cosine": {}, "loss ratio": {}, "gradient-norm ratio": {}}
    for study in studies:
        for name, measure in zip(features, (evidence.cosines, evidence.loss_ratios, evidence.norm_ratios), strict=True):
            features[name] |= measure(study)
    shares: dict[str, dict[str, float]] = {name: {} for name in features}
    cells = 0
    for method in dict.fromkeys(method for study in studies for method in candidates(study)):
        gains: dict[Setting, Shown] = {}
        for study in studies:
            gains |= comparisons.of(study.name, "sum", method)
        known = [setting for setting in gains if all(setting in found for found in features.values())]
        cells = max(cells, len(known))
        for name, found in features.items():
            if len(known) > 2:
                share = evidence.explained([found[s] for s in known], [gains[s].mean for s in known])
                shares[name][method] = share
    if not shares["cosine"]:
        return None
    medians = {name: median(by_method.values()) for name, by_method in shares.items()}
    ahead = max(medians["loss ratio"], medians["gradient-norm ratio"]) - medians["cosine"]
    answer: Answer = "yes" if ahead > MARGIN else "no" if ahead < -MARGIN else "open"
    listed = ", ".join(f"the {name} {share:.0%}" for name, share in medians.items())
    ranges = "; ".join(f"{n}: {min(v.values()):.0%} to {max(v.values()):.0%}" for n, v in shares.items())
    return Statement(
        "predictor",
        "Does imbalance predict a gain better than conflict?",
        answer,
        f"Of the variance of a method's gain over the equal sum, {listed} (median over"
        f" {plural(len(shares['cosine']), 'method')}).",
        f"Squared rank correlations over up to {cells} cells, measured on the equal sum early in training; over"
        f" methods, {ranges}.",
        f"Yes if the better of loss ratio and gradient-norm ratio explains at least {MARGIN:.0%} of the variance more"
        " than the cosine, no if that much less, by medians over methods.",
    )


def sharing(comparisons: Comparisons) -> Statement | None:
    """Ask whether relatedness decides if one network for all tasks is better than one for each.

    :param comparisons: gains of the map.
    """
    study = comparisons.over("rows", "relatedness")
    gains = comparisons.of(study.name, "single-task", "sum") if study else {}
    if study is None or not gains:
        return None
    values = sorted({setting.relatedness for setting in gains})
    tallies = {value: Tally.of([g for s, g in gains.items() if s.relatedness == value]) for value in values}
    least, most = tallies[values[0]], tallies[values[-1]]
    signs = [(t.won > t.lost) - (t.won < t.lost) for t in (least, most)]
    answer: Answer = "open" if signs == [0, 0] else "yes" if signs[1] > signs[0] else "no"
    listed = "; ".join(
        f"relatedness {value:g}: {t.score} of {t.cells}, {points(t.least)} to {points(t.most)}"
        for value, t in tallies.items()
    )
    return Statement(
        "sharing",
        "Does the relatedness of the tasks decide whether to share a network?",
        answer,
        f"Against single tasks, the equal sum wins/loses {most.score} of {plural(most.cells, 'cell')} at relatedness"
        f" {values[-1]:g}, and {least.score} at {values[0]:g}.",
        f"Won/lost by {listed}; cells differ in training rows.",
        "Yes if the equal sum wins more cells than it loses at the highest relatedness, and does worse at the lowest;"
        " open if it wins as many as it loses at both.",
    )


def three_conditions(comparisons: Comparisons) -> Statement | None:
    """Ask whether PCGrad gains where its theorem says: conflict, unequal sizes and high curvature together.

    :param comparisons: gains of the map.
    """
    study = comparisons.over("loss_ratio", "conditioning")
    gains = comparisons.of(study.name, "sum", "pcgrad") if study else {}
    corners: dict[tuple[bool, bool], list[Shown]] = {}
    for setting, gain in gains.items():
        corners.setdefault((setting.loss_ratio != 1.0, setting.conditioning != 1.0), []).append(gain)
    if len(corners) < 4:
        return None
    words = {
        (False, False): "conflict alone",
        (True, False): "with unequal losses",
        (False, True): "with curvature",
        (True, True): "with both",
    }
    tallies = {words[key]: Tally.of(corners[key]) for key in words}
    both = tallies["with both"].median
    others = max(tally.median for name, tally in tallies.items() if name != "with both")
    answer: Answer = "open" if not any(t.won for t in tallies.values()) else "yes" if both > others else "no"
    listed = "; ".join(
        f"{name} {t.score} of {t.cells}, median {points(t.median)} ({points(t.least)} to {points(t.most)})"
        for name, t in tallies.items()
    )
    return Statement(
        "three-conditions",
        "Does PCGrad gain most where its theorem says?",
        answer,
        "Where gradients conflict, PCGrad's median gain over the equal sum is"
        f" {points(tallies['conflict alone'].median)}; {points(tallies['with unequal losses'].median)} with unequal"
        f" losses too, and {points(both)} with high curvature as well.",
        f"Won/lost against the equal sum: {listed}.",
        "Yes if the median gain with conflict, unequal losses and curvature exceeds that of each other combination;"
        " open if no cell is won.",
    )


def _minus(cosine: float) -> str:
    return f"{cosine:.2f}".replace("-", "−")
