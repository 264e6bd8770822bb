"""Grid → cells: keys hold everything that decides the result, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_folders import write_folder

from mtlbench import seeds
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload, make_cells, parse_seeds
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite, packaged_suites
from mtlbench.text.model_config import PACKED_SINCE


def test_seeds_are_a_number_or_a_list() -> None:
    assert parse_seeds("3") == [0, 1, 2]
    assert parse_seeds("7, 3,3") == [3, 7]
    assert parse_seeds("7,") == [7]


@pytest.mark.parametrize("text", ["", ",", "x", "-1", "1.5", "0", "1,x", "²"])
def test_seeds_that_are_no_numbers_are_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="seeds must be"):
        parse_seeds(text)


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    assert seeds.derive(0, "schedule", "sst5", 0) == 5250577399166261583
    assert seeds.generator(0, "x").integers(1000) == seeds.generator(0, "x").integers(1000)


@given(st.lists(st.tuples(st.integers(0, 99), st.text(max_size=5)), min_size=2, max_size=20, unique=True))
def test_different_purposes_get_different_seeds(purposes: list[tuple[int, str]]) -> None:
    assert len({seeds.derive(*purpose) for purpose in purposes}) == len(purposes)


def test_a_key_changes_with_everything_that_decides_the_result(
    make_workload: Callable[..., Workload], tiny_bert: Path
) -> None:
    registry = load_registry()

    def key(method: str = "cagrad[c=0.4]", seed: int = 0, **changes: object) -> str:
        return make_cells(make_workload(**changes), [registry.method(method)], [seed])[0].key

    base = key()
    assert key() == base == key("cagrad")
    assert key(model=f"{tiny_bert}[layers=1,pooling=cls]") == base
    different = [
        key("cagrad[c=0.5]"),
        key("sum"),
        key(seed=1),
        key(steps=5),
        key(lr=1e-3),
        key(threads=2),
        key(model=f"{tiny_bert}[layers=2]"),
        key(model=f"{tiny_bert}[layers=1,pooling=mean]"),
        key(batch_size=5),
        key(tasks=make_workload().recipe.tasks[:2]),
        key(dev_limit=5),
        key(measure_every=1),
        key(update_norm="sum"),
    ]
    assert len({base, *different}) == len(different) + 1


def test_a_suite_whose_version_is_raised_has_other_cells(make_workload: Callable[..., Workload]) -> None:
    """Version 1 is left out of the key: suites from before the field was there keep their cells."""
    assert make_workload(version=1).identity() == make_workload().identity()
    assert "version" not in make_workload().identity()["recipe"]
    assert make_workload(version=2).identity()["recipe"]["version"] == 2


def test_families_that_were_packed_later_have_other_cells_than_before(
    make_workload: Callable[..., Workload], tmp_path: Path
) -> None:
    """Packs have masks of their own; cells of families that were packed from the beginning stay done."""
    from mtlbench.text.model import FAMILIES

    assert "packed" not in make_workload().identity()["encoder"]
    for family in ("modernbert", "xlm-roberta", "roberta", "albert"):
        encoder = make_workload(model=str(write_folder(tmp_path / family, family))).identity()["encoder"]
        assert encoder.get("packed") == (1 if family in ("modernbert", "xlm-roberta") else None)
    assert set(PACKED_SINCE) < set(FAMILIES)


def test_a_suite_file_sets_its_version(tmp_path: Path) -> None:
    text = packaged_suites()["quick"].read_text(encoding="utf-8")
    file = tmp_path / "raised.toml"
    file.write_text(f"version = 3\n{text}", encoding="utf-8")
    assert (load_suite("quick").version, load_suite(str(file)).version) == (1, 3)
    file.write_text(f"version = 0\n{text}", encoding="utf-8")
    with pytest.raises(UsageError, match=r"raised.toml: version=0 should be greater than or equal to 1"):
        load_suite(str(file))


def test_the_native_norm_leaves_older_cells_done(make_workload: Callable[..., Workload]) -> None:
    """Cells from before the option was there have no such field in their recipe."""
    assert make_workload(update_norm="native").identity() == make_workload().identity()
    assert "update_norm" not in make_workload().identity()["recipe"]
    assert make_workload(update_norm="sum").identity()["recipe"]["update_norm"] == "sum"


def test_a_key_does_not_depend_on_where_the_data_lies(
    make_workload: Callable[..., Workload], data_dir: Path, suite_file: Path, tmp_path: Path
) -> None:
    for file in data_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    recipe = load_suite(str(suite_file)).recipe({})
    moved = Workload.load("tiny", recipe, load_registry(), data_dir=tmp_path)
    method = load_registry().method("sum")
    assert make_cells(moved, [method], [0])[0].key == make_cells(make_workload(), [method], [0])[0].key
    changed = tmp_path / "mood.csv"
    changed.write_text(changed.read_text().replace("cat", "cow"))
    edited = Workload.load("tiny", recipe, load_registry(), data_dir=tmp_path)
    assert make_cells(edited, [method], [0])[0].key != make_cells(moved, [method], [0])[0].key


def test_epochs_become_steps_over_the_largest_task(make_workload: Callable[..., Workload]) -> None:
    assert make_workload(steps=None, epochs=2, batch_size=5).steps == 2 * 5  # 24 rows: 5 batches an epoch


def test_cells_go_seed_by_seed(make_workload: Callable[..., Workload]) -> None:
    registry = load_registry()
    cells = make_cells(make_workload(), [registry.method("sum"), registry.method("mgda")], [0, 1])
    assert [cell.title for cell in cells] == ["sum seed 0", "mgda seed 0", "sum seed 1", "mgda seed 1"]


@pytest.mark.parametrize("name", sorted(packaged_suites()))
def test_the_packaged_suites_load_and_name_things_that_exist(name: str) -> None:
    suite, registry = load_suite(name), load_registry()
    assert all(registry.expand_methods(method) for method in suite.methods)
    if suite.problem is None:
        assert all(registry.task(task) for task in suite.tasks)
    else:
        assert set(suite.tasks) <= {target.name for target in registry.problem(suite.problem).targets()}
    assert suite.description


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("stepz = 4", "unknown key of suite bad.toml: 'stepz'; did you mean steps?"),
        ("epochs = 3", "give either steps or epochs"),
        ("threads = 0", "bad.toml: threads=0 should be greater than or equal to 1"),
        ("lr_schedule = 'cubic'", "lr_schedule=cubic should be 'constant' or 'linear'"),
        ("update_norm = 'mean'", "update_norm=mean should be 'native' or 'sum'"),
        ("x = ", "not a TOML file"),
    ],
)
def test_a_bad_suite_file_is_one_line(suite_file: Path, tmp_path: Path, change: str, expected: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(suite_file.read_text() + change + "\n")
    with pytest.raises(UsageError) as caught:
        load_suite(str(file))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_two_spellings_of_a_recipe_are_one(make_workload: Callable[..., Workload], tiny_bert: Path) -> None:
    task = "table[classes=3,label=label,text=text,dev=mood.csv,train=mood.csv,called=mood]"
    other = make_workload(tasks=(task,), model=f"{tiny_bert}[pooling=cls,layers=1]")
    assert other.identity() == make_workload(tasks=make_workload().recipe.tasks[:1]).identity()


@pytest.mark.parametrize("field", ["lr", "weight_decay"])
@pytest.mark.parametrize("number", ["inf", "nan", "1e999"])
def test_every_number_of_a_recipe_is_finite(field: str, number: str, suite_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"option {field}=(inf|nan) should be (a finite number|greater than)"):
        load_suite(str(suite_file)).recipe({field: float(number)})
    suite = tmp_path / "suite.toml"
    lines = [line for line in suite_file.read_text().splitlines() if not line.startswith(field)]
    suite.write_text("\n".join([*lines, f"{field} = {'inf' if number == '1e999' else number}"]))
    with pytest.raises(UsageError, match=rf"suite.toml: {field}=(inf|nan) should be"):
        load_suite(str(suite))
