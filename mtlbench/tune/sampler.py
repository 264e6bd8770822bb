"""Where in a cube the next trial is made. Both samplers are replayed exactly: they hold no state of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mtlbench import seeds
from mtlbench.errors import UsageError
from mtlbench.tune.space import Point, Space

Sampler = Literal["halton", "tpe"]

WORST = -1.0
"""What a failed trial is told to the sampler as: a correlation can be no lower."""


def halton(number: int, size: int, seed: int) -> Point:
    """Return a point of the Halton sequence with random digits (Owen, A Randomized Halton Algorithm in R, 2017).

    It fills the cube more evenly than random points do: Bergstra and Bengio, Random Search for Hyper-Parameter
    Optimization, JMLR 2012, section 4. Coordinates are scrambled one after another, so that one does not depend on how
    many follow it, and all methods try the same learning rates. A Sobol sequence, which that paper takes, is worse for
    few points of weights of which the ratios count: its coordinates begin alike, so that trials repeat ratios.

    :param number: of the point, from 0.
    :param size: coordinates of the cube.
    """
    from scipy.stats import qmc

    sequence = qmc.Halton(size, scramble=True, rng=seeds.generator(seed, "tune", "halton"))
    return tuple(float(one) for one in sequence.fast_forward(number).random(1)[0])


def tpe(spaces: Sequence[Space], told: Sequence[tuple[Point, float]], seed: int) -> Point:
    """Return where the tree-structured Parzen estimator looks next, each coordinate on its own.

    Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011, as Optuna has it.

    :param told: the points so far with their scores; higher is better.
    :param seed: of this one point's draws.
    :raises UsageError: when Optuna is not installed.
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
    for point, score in told:
        params = {
            name: int(place * len(one.choices)) if hasattr(one, "choices") else place
            for (name, one), place in zip(cube.items(), point, strict=True)
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=cube, value=score))
    found = study.ask(cube).params
    return tuple(
        (found[name] + 0.5) / len(one.choices) if hasattr(one, "choices") else found[name] for name, one in cube.items()
    )


def load_optuna() -> Any:
    """Import Optuna.

    :raises UsageError: when it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError("--sampler tpe needs Optuna: pip install 'mtlbench[tune]', or --sampler halton") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
