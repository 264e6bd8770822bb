"""Made maps for the page and its conclusions: scores from a formula, so that tests know what each sentence should say.

The formula has one mechanism: a task's error depends on its share of the update. Losses and label noise shift that
share, and a method is a rule that sets it; tests replace rules to turn a conclusion round.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

import numpy as np

from mtlbench.map.cells import Array, Column, Features, Setting
from mtlbench.map.presets import preset
from mtlbench.map.result import MapResult, Study
from mtlbench.map.scores import Scores
from mtlbench.map.selection import RULE_METHODS
from mtlbench.map.tally import CONTROLS

NASTY = 'mine[text=</script><b>&"x"]'
"""A method whose name would break a page that does not escape."""
Share = Callable[[Setting], float]
"""Logarithm of the last task's share of the update over the first one's, for a setting."""


def loss(setting: Setting) -> float:
    return float(np.log(setting.loss_ratio))


def best(setting: Setting) -> float:
    """The share with the lowest mean log error: a noisier task should get less."""
    return -0.8 * float(np.log(setting.noise_ratio))


SHARES: Mapping[str, Share] = {
    "sum": loss,
    "unit-gradients": lambda s: 0.0,
    "pcgrad": lambda s: 0.9 * loss(s),
    "cagrad": lambda s: 0.1 * loss(s),
    "mgda": lambda s: -1.2 * loss(s) - 0.2 * float(np.log(s.noise_ratio)),
    "nash-mtl": lambda s: 0.0,
    "imtl-g": lambda s: 0.0,
    "aligned-mtl": lambda s: 0.05 * loss(s),
    "gradnorm": lambda s: 1.2 * float(np.log(s.noise_ratio)) + 0.2,
    "famo": lambda s: 0.15 * loss(s),
    "uw": best,
    "si": best,
}
HURRY: Mapping[str, float] = {"unit-step-sum": 0.35, "nash-mtl": 0.35, "log-sum": 0.6, "uw": 0.6, "si": 0.6}
"""What a growing effective step gains in the shortest training, by method."""


@dataclass(frozen=True)
class World:
    """What methods do in a made map.

    :param shares: method → its rule.
    :param hurry: method → gain in short training.
    :param conflict: what a cosine of −1 costs every method but the sum and its step rules.
    :param curvature: what PCGrad gains from unequal losses and curvature together.
    :param sharing: what full relatedness gains over single tasks, and no relatedness costs.
    :param noise: standard deviation between the columns of one seed.
    :param seeds: number of seeds.
    """

    shares: Mapping[str, Share] = field(default_factory=lambda: dict(SHARES))
    hurry: Mapping[str, float] = field(default_factory=lambda: dict(HURRY))
    conflict: float = 0.0
    curvature: float = 0.0
    sharing: float = 0.4
    noise: float = 0.06
    seeds: int = 8

    def with_share(self, share: Share, *methods: str) -> World:
        """Return a world in which some methods, or all but the controls, have another rule."""
        changed = methods or [method for method in self.shares if method not in CONTROLS]
        return replace(self, shares={**self.shares, **dict.fromkeys(changed, share)})


def made_map(world: World | None = None, *, name: str = "quick", studies: Sequence[str] | None = None) -> MapResult:
    """Return a map of a preset's settings and columns, with made scores.

    :param world: what methods do; the default resembles what training shows.
    :param name: of the preset.
    :param studies: names of its studies; ``None``: all.
    """
    world = world or World()
    made = {}
    for plan in preset(name).chosen(studies):
        cells = [_scores(setting, plan.columns(setting), world) for setting in plan.settings]
        made[plan.name] = Study(plan.name, plan.title, plan.knobs, cells)
    return MapResult(made, name)


def _scores(setting: Setting, columns: Sequence[Column], world: World) -> Scores:
    generator = np.random.default_rng(zlib.crc32(repr(astuple(setting)).encode()))
    luck = generator.normal(0.0, 0.3, (world.seeds, 1, setting.tasks))  # of a seed, the same for every column
    expected = np.array([_log_errors(setting, column, world) for column in columns])
    dev, test = (
        np.exp(expected + luck + generator.normal(0.0, world.noise, (world.seeds, *expected.shape))).clip(1e-6, 1e3)
        for _ in range(2)
    )
    for number, column in enumerate(columns):
        if column.single is not None:
            others = [task for task in range(setting.tasks) if task != column.single]
            dev[:, number, others] = test[:, number, others] = np.nan
    plain = [number for number, column in enumerate(columns) if column.is_plain_sum]
    return Scores(setting, columns, range(world.seeds), dev, test, _features(setting, plain, world.seeds, generator))


def _log_errors(setting: Setting, column: Column, world: World) -> Array:
    """Return (K,) expected log errors of a column."""
    places = np.linspace(0.0, 1.0, setting.tasks)
    base = np.log(0.05) + 0.9 * np.log(setting.noise_ratio) * places - 0.2 * np.log(setting.rows / 1024)
    base = base + 0.1 * abs(np.log10(column.lr) + 1.75)
    if column.single is not None:
        return np.asarray(base + (2.0 * setting.relatedness - 1.0) * world.sharing)
    method = RULE_METHODS[column.step_rule] if column.method == "sum" else column.method
    share = world.shares.get(method, world.shares["sum"])(setting)
    if column.weights is not None:
        share += float(np.log(column.weights[-1] / column.weights[0]))
    off = share - best(setting)
    base = base - world.hurry.get(method, 0.0) * np.exp((200 - setting.steps) / 300)
    if method not in RULE_METHODS.values():
        base = base + world.conflict * max(-cosine(setting), 0.0)
    if method == "pcgrad" and setting.loss_ratio != 1.0 and setting.conditioning != 1.0:
        base = base - world.curvature
    weight = 0.02 if setting.width == 1 else 0.12
    starved = places * max(-off, 0.0) + (1.0 - places) * max(off, 0.0)
    return np.asarray(base + weight * starved * min(abs(off), 4.0))


def cosine(setting: Setting) -> float:
    """The cosine of two tasks' gradients: a tight shared layer makes them conflict."""
    return {1: -0.8, 2: -0.4}.get(setting.width, 0.0)


def _features(setting: Setting, plain: Sequence[int], seeds: int, generator: np.random.Generator) -> Features:
    """Return features with the setting's cosine and loss ratio, and some noise."""
    shape, tasks = (1, seeds, len(plain)), setting.tasks
    norms = setting.loss_ratio ** np.linspace(0.0, 1.0, tasks)
    cosines = np.clip(cosine(setting) + generator.normal(0.0, 0.05, shape), -1.0, 1.0)[..., None, None]
    gram = np.where(np.eye(tasks, dtype=bool), 1.0, cosines) * norms[:, None] * norms
    losses = norms * np.exp(generator.normal(0.0, 0.05, (*shape, tasks)))
    return Features(np.array(plain), 40, 2.0 * losses, losses, gram, gram, 0.5 * gram, gram)
