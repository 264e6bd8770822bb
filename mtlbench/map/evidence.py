"""Measurements of the plain sum, one number for each setting: what a gain may depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from mtlbench.map.cells import Array, Features, Setting
from mtlbench.map.result import Study
from mtlbench.map.scores import Scores


def cosines(study: Study) -> dict[Setting, float]:
    """Return the smallest cosine of two tasks' gradients on all training rows, by setting.

    :param study: the study.
    :returns: medians over seeds, of the plain sum at its best learning rate; without settings that lack features.
    """
    return measured(study.cells, lambda features: features.full_cosine)


def loss_ratios(study: Study) -> dict[Setting, float]:
    """Return the logarithm of the ratio of the largest training loss to the smallest, by setting.

    :param study: the study.
    :returns: as for :func:`cosines`.
    """
    return measured(study.cells, lambda features: np.log(features.loss_ratio))


def norm_ratios(study: Study) -> dict[Setting, float]:
    """Return the logarithm of the ratio of the longest task gradient to the shortest, by setting.

    :param study: the study.
    :returns: as for :func:`cosines`.
    """
    return measured(study.cells, lambda features: np.log(features.norm_ratio))


def measured(cells: Sequence[Scores], feature: Callable[[Features], Array]) -> dict[Setting, float]:
    """Return a feature by setting.

    :param cells: the cells of a study.
    :param feature: features → (1, N, Q) values.
    :returns: medians over seeds, of the plain sum at its best learning rate.
    """
    found = {}
    for cell in cells:
        if cell.features is None:
            continue
        values = feature(cell.features)[0]
        best = np.argmin(cell.criterion[:, cell.features.columns], axis=1)
        of_best = values[np.arange(len(best)), best]
        if np.isfinite(of_best).any():
            found[cell.setting] = float(np.nanmedian(of_best))
    return found


def explained(feature: Sequence[float], gain: Sequence[float]) -> float:
    """Return the share of a gain's variance that the rank of a feature explains: Spearman's ρ, squared.

    :param feature: a number for each cell.
    :param gain: the gain in each cell.
    :returns: 0 when one of them is constant.
    """
    x, y = rankdata(feature), rankdata(gain)
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)
