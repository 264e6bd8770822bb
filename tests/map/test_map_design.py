"""The presets: their studies, columns and pools, their cost, and how they are cut into shards."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench import UsageError
from mtlbench.map.cells import Setting
from mtlbench.map.cost import estimate, most_instances
from mtlbench.map.design import RATES, Plan, grid, weightings
from mtlbench.map.presets import PRESETS, Preset, preset
from mtlbench.map.selection import RULE_METHODS, Pool, method_of
from mtlbench.map.shards import LONGEST, Shard, cell_keys, missing
from mtlbench.plugins.registry import load_registry

ALL = [pytest.param(made, plan, id=f"{made.name}-{plan.name}") for made in PRESETS.values() for plan in made.plans]


@pytest.mark.parametrize(("made", "plan"), ALL)
def test_every_study_is_what_its_figure_needs(made: Preset, plan: Plan) -> None:
    assert len(set(plan.settings)) == len(plan.settings)
    fields = {name for setting in plan.settings for name, value in vars(setting).items() if value != _first(plan, name)}
    assert fields <= set(plan.knobs)
    for setting in plan.settings:
        columns = plan.columns(setting)
        assert len(set(columns)) == len(columns)
        trials = {method: [c.lr for c in columns if method_of(c) == method] for method in plan.methods}
        assert all(tuple(rates) == RATES[setting.optimizer] for rates in trials.values())  # equal budgets
        assert trials["sum"]
        for rule in RULE_METHODS:
            assert bool(Pool(columns, rule).all) == (rule in plan.pools)
        assert {c.single for c in columns} - {None} == (set(range(setting.tasks)) if plan.single_tasks else set())


def _first(plan: Plan, name: str) -> object:
    return getattr(plan.settings[0], name)


def test_both_presets_have_the_same_studies_and_the_full_one_has_every_control() -> None:
    quick, full = PRESETS["quick"], PRESETS["full"]
    assert [plan.name for plan in quick.plans] == [plan.name for plan in full.plans]
    assert full.seeds >= 20 and quick.seeds >= 4  # fewer than four claim nothing
    headline = full.plans[0]
    assert {"sum", "unit-step-sum", "log-sum", "unit-gradients"} <= set(headline.methods)
    assert set(headline.pools) == {"plain", "unit", "log"} and headline.single_tasks


@pytest.mark.parametrize(("name", "minutes"), [("quick", 3.0), ("full", 120.0)])
def test_a_preset_keeps_its_time_on_two_cores(name: str, minutes: float) -> None:
    made = preset(name)
    shards = [shard for plan in made.plans for shard in missing(plan, range(made.seeds), {})]
    assert sum(shard.seconds for shard in shards) / 2 < 0.8 * 60 * minutes


@pytest.mark.parametrize(("made", "plan"), ALL)
def test_shards_cover_every_cell_once_and_are_short(made: Preset, plan: Plan) -> None:
    shards = missing(plan, range(made.seeds), {})
    cells = [(setting, seed) for shard in shards for setting in shard.settings for seed in shard.seeds]
    assert sorted(cells, key=repr) == sorted(((s, n) for s in plan.settings for n in range(made.seeds)), key=repr)
    for shard in shards:
        assert len({setting.shape for setting in shard.settings}) == 1
        assert shard.seconds <= LONGEST or len(shard.settings) * len(shard.seeds) == 1
        assert shard.columns == plan.columns(shard.settings[0])


def test_only_what_is_not_done_is_missing() -> None:
    plan = Plan("some", "Some", ("loss_ratio",), grid(Setting(steps=2), loss_ratio=(1.0, 10.0, 100.0)), ("sum",))
    first, second, third = plan.settings
    left = missing(plan, [0, 1, 2], {first: {0, 1, 2}, second: {1}, third: {1, 7}})
    assert [(shard.settings, shard.seeds) for shard in left] == [((second, third), (0, 2))]
    assert missing(plan, [1], {first: {1}, second: {1}, third: {1}}) == []


def test_an_estimate_grows_with_the_work_and_is_inverted() -> None:
    columns = PRESETS["quick"].plans[0].columns(Setting())
    for more in (Setting(steps=2400), Setting(tasks=4), Setting(batch=256)):
        assert estimate(more, columns, 4) > estimate(Setting(), columns, 4)
    most = most_instances(Setting(), columns, 30.0)
    assert estimate(Setting(), columns, most) <= 30.0 < estimate(Setting(), columns, most + 1)
    assert most_instances(Setting(steps=10**6), columns, 30.0) == 1


@pytest.mark.parametrize(("tasks", "count"), [(2, 6), (2, 12), (3, 18), (4, 18), (8, 18)])
def test_weightings_have_the_sum_of_equal_ones_and_keep_to_their_box(tasks: int, count: int) -> None:
    weights = np.array(weightings(tasks, count))
    assert weights.shape == (count, tasks) and weights.sum(axis=1) == pytest.approx(tasks)
    ratios = weights.max(axis=1) / weights.min(axis=1)
    assert ratios.max() <= (1000.1 if tasks == 2 else 100.1) and ratios.min() > 1.1
    assert weightings(tasks, count) == [tuple(row) for row in weights]


def test_keys_change_with_all_that_decides_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, registry = PRESETS["quick"].plans[1], load_registry()
    columns = plan.columns(plan.settings[0])
    keys = cell_keys(plan.settings, columns, registry)
    assert len(set(keys)) == len(keys) and keys == cell_keys(plan.settings, columns, registry)
    assert cell_keys(plan.settings[:1], columns[1:], registry) != keys[:1]
    monkeypatch.setattr("mtlbench.map.shards.PROTOCOL", 0)
    assert not set(cell_keys(plan.settings, columns, registry)) & set(keys)
    monkeypatch.undo()
    monkeypatch.setattr("mtlbench.map.shards.source_fingerprint", lambda cls: cls.__name__)
    assert not set(cell_keys(plan.settings, columns, registry)) & set(keys)


def test_a_shard_is_named_by_its_settings_and_seeds() -> None:
    shard = Shard((Setting(), Setting(loss_ratio=3.0)), (0, 1, 2), ())
    assert shard.title == "2 × 3 instances (adam, 2 tasks, width 8, 1200 steps), seeds 0–2"
    assert Shard((Setting(),), (0, 2), ()).title.endswith("seeds 0, 2")


def test_unknown_names_are_answered_with_the_closest() -> None:
    with pytest.raises(UsageError, match="did you mean full"):
        preset("ful")
    with pytest.raises(UsageError, match="did you mean loss-noise"):
        PRESETS["quick"].chosen(["loss-nois"])
    assert [plan.name for plan in PRESETS["quick"].chosen(["trials", "steps"])] == ["steps", "trials"]
