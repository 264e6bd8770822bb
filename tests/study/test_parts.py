"""The suites of a study, and the order of its rungs."""

from __future__ import annotations

from study_records import climbed, suite

from mtlbench.recipe.suite import packaged_suites
from mtlbench.study.parts import StudiedSuite, study_of


def test_rungs_are_in_order_and_list_the_changes_of_their_recipes() -> None:
    rungs = study_of(climbed()).rungs
    assert [rung.name for rung in rungs] == ["1-paper", "5-sqrt", "5-annealed", "6-warmup"]
    assert [rung.before and rung.before.name for rung in rungs] == [None, "1-paper", "1-paper", "5-sqrt"]
    assert rungs[1].changes == ("model minilm[pairs=apart] → minilm", "sampling uniform → sqrt")
    assert rungs[3].changes == ("lr 5e-05 → 0.0001",)


def test_files_of_packaged_rungs_name_a_rung_to_compare_with() -> None:
    names = [name for name in packaged_suites() if name.startswith("ladder-")]
    for name in names:
        first = packaged_suites()[name].read_text().splitlines()[0]
        if first.startswith("# Changes one thing against "):
            assert first.removeprefix("# Changes one thing against ").partition(":")[0] in names


def test_of_several_groups_of_a_suite_the_newest_counts() -> None:
    newer = [record | {"started": record["started"].replace("2026", "2027")} for record in suite("main", lr=1e-4)]
    (part,) = study_of([*newer, *suite("main", lr=1e-5)]).suites
    assert part.cells.recipe["lr"] == 1e-4


def test_the_suite_with_most_cells_comes_first() -> None:
    study = study_of([*suite("a", seeds=2), *suite("b", seeds=4)])
    assert [part.suite for part in study.suites] == ["b", "a"] and not study.rungs and not study.tested


def test_test_scores_have_tables_of_their_own() -> None:
    records = suite("main")
    for record in records:
        record["test_scores"] = {task: {m: v + 0.001 for m, v in s.items()} for task, s in record["scores"].items()}
        for task in record["tasks"].values():
            task["test"] = {"rows": 100, "floors": task["floors"]}
    (part,) = study_of(records).tested
    assert isinstance(part, StudiedSuite) and part.group.split == "test"
