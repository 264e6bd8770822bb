"""The rooms of the code: imports lead down, nothing goes in a circle, and the page that shows it is today's."""

from __future__ import annotations

import pytest

from docs.architecture import FACE, FIGURE, FOLDERS, ORDER, PAGE, ROOT, House, figure, page


@pytest.fixture(scope="module")
def house() -> House:
    return House.read()


def test_rooms_import_only_from_rooms_below_them(house: House) -> None:
    assert house.upward() == []


def test_no_modules_import_each_other(house: House) -> None:
    assert house.circles() == []


def test_every_folder_is_a_room_and_nothing_else_lies_at_the_root(house: House) -> None:
    assert sorted(house.rooms) == sorted(room for rooms in ORDER for room in rooms)
    modules = {module for module, file in house.files.items() if file.parent == FOLDERS["mtlbench"]}
    assert modules == FACE | {"mtlbench.errors", "mtlbench.seeds"}


def test_the_page_and_its_figure_are_todays(house: House) -> None:
    renew = "run: python docs/architecture.py"
    assert FIGURE.read_text(encoding="utf-8") == figure(house), renew
    assert PAGE.read_text(encoding="utf-8") == page(PAGE.read_text(encoding="utf-8"), house), renew


def test_an_import_that_leads_up_would_be_seen(house: House) -> None:
    """The checks above can fail: an arrow from the lowest room to the highest, and a circle."""
    changed = House(house.files)
    changed.__dict__["imports"] = {**house.imports, "mtlbench.errors": {"mtlbench.cli.app"}}
    assert changed.upward() == ["mtlbench.errors -> mtlbench.cli.app"]
    assert any("mtlbench.errors" in circle for circle in changed.circles())


def test_files_of_tests_have_names_of_their_own() -> None:
    """Pytest imports them by name alone: two of one name break whichever comes second in a worker."""
    names = [file.name for file in (ROOT / "tests").rglob("*.py") if file.name != "conftest.py"]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
