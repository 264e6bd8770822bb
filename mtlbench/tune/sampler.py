"""Samplers: choose the point of the next trial. They keep no state, so a search can be replayed exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mtlbench import seeds
from mtlbench.errors import UsageError
from mtlbench.tune.space import Point, Space

Sampler = Literal["halton", "tpe"]

WORST = -1.0
"""Score that the sampler receives for a failed trial: the least that a correlation can be."""


def halton(number: int, size: int, seed: int) -> Point:
    """Return a point of the Halton sequence with random digits (Owen, A Randomized Halton Algorithm in R, 2017).

    It fills the cube more evenly than random points: Bergstra and Bengio, Random Search for Hyper-Parameter
    Optimization, JMLR 2012, section 4. Coordinates are scrambled one after another, so a coordinate does not depend on
    how many follow it, and all methods try the same learning rates. A Sobol sequence, which that paper uses, is worse
    for a few points of task weights, where only ratios matter: its coordinates begin alike, so trials repeat ratios.

    :param number: index of the point, from 0.
    :param size: number of coordinates.
    :param seed: of the random digits.
    """
    from scipy.stats import qmc

    sequence = qmc.Halton(size, scramble=True, rng=seeds.generator(seed, "tune", "halton"))
    return tuple(float(place) for place in sequence.fast_forward(number).random(1)[0])


def tpe(spaces: Sequence[Space], scored: Sequence[tuple[Point, float]], seed: int) -> Point:
    """Return the next point of the tree-structured Parzen estimator, with coordinates treated independently.

    Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011, as implemented by Optuna.

    :param spaces: whose coordinates make up a point, in this order.
    :param scored: the points so far with their scores; higher is better.
    :param seed: of the draws for this point.
    :raises UsageError: if Optuna is not installed.
    """
    optuna = load_optuna()
    cube: dict[str, Any] = {}
    for number, space in enumerate(spaces):
        for part in range(space.size):
            cube[f"{number}.{part}"] = (
                optuna.distributions.FloatDistribution(0.0, 1.0)
                if space.options is None
                else optuna.distributions.CategoricalDistribution(range(space.options))
            )
    sampler = optuna.samplers.TPESampler(n_startup_trials=0, multivariate=False, seed=seed % 2**32)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for point, score in scored:
        params = {
            name: int(place * len(distribution.choices)) if hasattr(distribution, "choices") else place
            for (name, distribution), place in zip(cube.items(), point, strict=True)
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=cube, value=score))
    params = study.ask(cube).params
    return tuple(
        (params[name] + 0.5) / len(distribution.choices) if hasattr(distribution, "choices") else params[name]
        for name, distribution in cube.items()
    )


def load_optuna() -> Any:
    """Import Optuna and return the module.

    :raises UsageError: if it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError("--sampler tpe needs Optuna: pip install 'mtlbench[tune]', or --sampler halton") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
