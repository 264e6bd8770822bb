"""Are the tests of the report as good as their word? Simulated comparisons whose truth is known; prints Markdown.

    python benchmarks/calibration.py > benchmarks/calibration.md

Everything is seeded. A rate is measured on simulated comparisons and held against a target with the band that binomial
chance leaves around it. Where the assumptions of a test are broken on purpose, the table shows what that costs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from mtlbench import stats

TRIALS = 10_000
BAND = 0.999
"""Share of honest rates that lie within the printed band."""
SEEDS = (3, 4, 5, 10, 20)
METHODS, TASKS = 4, 3
"""Of the simulated families: as many comparisons as their product."""


@dataclass(frozen=True)
class Rate:
    """A measured rate beside its target."""

    what: str
    setting: str
    rate: float
    target: float
    trials: int
    assumed: bool = True
    """Whether the simulation keeps the test's assumptions; then the rate must lie in the band."""

    @property
    def band(self) -> tuple[float, float]:
        low, high = scipy_stats.binom.interval(BAND, self.trials, self.target)
        return float(low) / self.trials, float(high) / self.trials

    @property
    def kept(self) -> bool:
        return self.band[0] <= self.rate <= self.band[1]


def differences(kind: str, trials: int, n: int, generator: np.random.Generator) -> stats.Vector:
    """Return (trials, n) differences of mean 0 and SD 1 between two methods that are the same, or skewed ones."""
    match kind:
        case "normal":
            return generator.normal(size=(trials, n))
        case "skewed scores":  # two methods alike, each score exponential: their difference is symmetric, long-tailed
            scores = generator.exponential(size=(2, trials, n))
            return np.asarray((scores[0] - scores[1]) / np.sqrt(2))
        case "skewed differences":  # no two methods that are alike give these: neither test assumes them
            return generator.exponential(size=(trials, n)) - 1.0
    raise ValueError(kind)


def t_p(d: stats.Vector) -> stats.Vector:
    """Return the paired t test's p of every row; what ``paired_comparison`` gives, row by row."""
    t = d.mean(-1) / d.std(-1, ddof=1) * np.sqrt(d.shape[-1])
    return np.asarray(2 * scipy_stats.t.sf(np.abs(t), d.shape[-1] - 1))


def flip_p(d: stats.Vector) -> stats.Vector:
    """Return the sign-flip test's p of every row."""
    return np.array([stats.sign_flip(row) for row in d], dtype=np.float64)


def attained(n: int, alpha: float) -> float:
    """Return the largest level not above alpha that the sign-flip test with n pairs can have."""
    steps = 2.0 ** (n - 1)
    return float(np.floor(alpha * steps + 1e-9) / steps)


def false_positives(trials: int, generator: np.random.Generator) -> Iterator[Rate]:
    """A method against itself: how often a difference is claimed at α = .05."""
    alpha = stats.ALPHA
    for kind in ("normal", "skewed scores", "skewed differences"):
        for n in SEEDS:
            d = differences(kind, trials, n, generator)
            setting = f"n = {n}, {kind}"
            yield Rate("paired t", setting, float((t_p(d) < alpha).mean()), alpha, trials, kind == "normal")
            flipped = float((flip_p(d) <= alpha).mean())
            yield Rate("sign flip", setting, flipped, attained(n, alpha), trials, kind != "skewed differences")
    for n in SEEDS:
        a, b = generator.normal(size=(2, trials, n))
        p = scipy_stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue
        # Satterthwaite's degrees of freedom are an approximation, cautious at few seeds
        yield Rate("Welch t", f"n = {n}, normal", float((p < alpha).mean()), alpha, trials, n >= 20)


def friedman_false_positives(trials: int, generator: np.random.Generator) -> Iterator[Rate]:
    """Methods alike: Friedman's permutation p. It is discrete, so its rate may lie below α but not above."""
    for methods, n in ((3, 3), (3, 5), (4, 4)):
        found = [stats.friedman(generator.normal(size=(methods, n))) for _ in range(trials)]
        rate = float(np.mean([f is not None and f.p <= stats.ALPHA for f in found]))
        yield Rate("Friedman", f"{methods} methods, n = {n} (discrete)", rate, stats.ALPHA, trials, assumed=False)


def power(trials: int, generator: np.random.Generator) -> Iterator[Rate]:
    """How often the promised minimum detectable effect is found."""
    for family in (1, TASKS, METHODS * TASKS):
        for n in SEEDS:
            alpha = stats.ALPHA / family
            effect = stats.detectable_effect(n, alpha)
            if effect is None:
                continue
            d = generator.normal(effect, 1.0, (trials, n))
            setting = f"n = {n}, {effect:.2f} SD, α = .05" + (f"/{family}" if family > 1 else "")
            yield Rate("power, paired t", setting, float((t_p(d) < alpha).mean()), stats.POWER, trials)
            if stats.primary_test(n, family).test == "sign flip":
                found = float((flip_p(d) <= alpha).mean())
                yield Rate("power, sign flip", setting, found, stats.POWER, trials, assumed=False)


def equivalence(trials: int, generator: np.random.Generator) -> Iterator[Rate]:
    """A true difference exactly at the margin: how often it is declared to lie within (at most α)."""
    for n in (5, 10, 20):
        margin = 4 / np.sqrt(n)
        d = generator.normal(margin, 1.0, (trials, n))
        error = d.std(1, ddof=1) / np.sqrt(n)
        p = [stats.equivalence_p(m, e, n - 1, margin) for m, e in zip(d.mean(1).tolist(), error.tolist(), strict=True)]
        # with few seeds the other side of the margin is near too, and the rate falls below α
        yield Rate(
            "equivalence", f"n = {n}, at the margin", float(np.mean(np.array(p) < stats.ALPHA)), 0.05, trials, n > 5
        )


def coverage(trials: int, generator: np.random.Generator) -> Iterator[Rate]:
    """How often the 95 % intervals hold the truth."""
    for kind in ("normal", "skewed scores", "skewed differences"):
        for n in SEEDS:
            d = differences(kind, trials, n, generator)
            held = float((t_p(d) >= stats.ALPHA).mean())  # the interval holds 0 exactly when p is not below α
            yield Rate("t interval holds", f"n = {n}, {kind}", held, stats.CONFIDENCE, trials, kind == "normal")
    few, rows = trials // 5, 200
    for n in (3, 5, 10):
        for name, seed_sd, row_sd in (("seeds vary most", 0.1, 0.2), ("rows vary most", 0.01, 0.5)):
            held = 0
            for _ in range(few):
                d = generator.normal(0, seed_sd, (n, 1)) + generator.normal(0, row_sd, (1, rows))
                found = stats.crossed_interval(d + generator.normal(0, 0.3, (n, rows)))
                held += found is not None and found.ci_low <= 0 <= found.ci_high
            setting = f"n = {n}, {rows} rows, {name}"
            yield Rate("crossed interval holds", setting, held / few, stats.CONFIDENCE, few, assumed=False)


def families(trials: int, generator: np.random.Generator) -> Iterator[Rate]:
    """Methods alike, one baseline and one seed effect for all: how often Holm's correction lets any claim through."""
    few = trials // 5
    for n in (4, 5, 10, 20):
        shape = (few, TASKS, METHODS + 1, n)
        scores = generator.normal(size=shape)
        d = (scores[:, :, 1:] - scores[:, :, :1]).reshape(few, METHODS * TASKS, n)
        choice = stats.primary_test(n, METHODS * TASKS)
        p = flip_p(d.reshape(-1, n)) if choice.test == "sign flip" else t_p(d.reshape(-1, n))
        smallest = p.reshape(few, -1).min(1)  # Holm claims anything at all exactly when the smallest passes its step
        rate = float(np.mean([min(1.0, one * METHODS * TASKS) < stats.ALPHA for one in smallest]))
        # a bound, not a target: the comparisons share their baseline, so that the rate is below it
        setting = f"n = {n}, {METHODS} methods × {TASKS} tasks, {choice.test}"
        yield Rate("Holm, any false claim", setting, rate, stats.ALPHA, few, assumed=False)


def simulate(trials: int = TRIALS, seed: int = 0) -> list[Rate]:
    """Run every simulation."""
    parts = (false_positives, power, equivalence, coverage, families)
    rates = [rate for index, part in enumerate(parts) for rate in part(trials, np.random.default_rng([seed, index]))]
    return rates + list(friedman_false_positives(trials // 10, np.random.default_rng([seed, len(parts)])))


def page(rates: list[Rate]) -> str:
    """Return the table as Markdown."""
    assumed = [rate for rate in rates if rate.assumed]
    lines = [
        "# Calibration",
        "",
        "Made by `python benchmarks/calibration.py > benchmarks/calibration.md`: simulated comparisons of known truth.",
        f"The band holds {BAND:.1%} of the rates that chance makes of the target.",
        f"{sum(r.kept for r in assumed)} of the {len(assumed)} rates whose assumptions hold lie in it.",
        "In the other rows an assumption is broken on purpose, or the target is a bound or an approximation: they show",
        "what that costs. The sign-flip test is discrete; its target is the largest level not above .05 that n pairs",
        "can have. The power of the sign flip is shown where the report would choose it, at the effect promised for",
        "the t test.",
        "",
        "To be read from it: differences that are themselves skewed break both tests (twice the promised rate at 3 to",
        "10 seeds), which two methods that are alike cannot produce, however skewed their scores; the crossed interval",
        "is somewhat short at 3 seeds, where nothing is claimed.",
        "",
        "| what | setting | rate | target | band | within | assumptions hold |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    for r in rates:
        band, kept = f"{r.band[0]:.3f} to {r.band[1]:.3f}", "yes" if r.kept else "**no**"
        row = (r.what, r.setting, f"{r.rate:.4f}", f"{r.target:.4f}", band, kept, "yes" if r.assumed else "no")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(simulate()))
