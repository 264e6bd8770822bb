"""The page in a real browser: no errors, tables sort by keyboard, and a phone needs no sideways scrolling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import PHONE, running_browser

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'mtlbench[browser]'")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser(sync_api) as running:
        yield running


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory, page_text: str) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_text, encoding="utf-8")
    return file


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, page_file: Path) -> Iterator[Any]:
    """The page on a phone in a colour scheme. Console messages and requests are errors."""
    context = browser.new_context(viewport=PHONE, color_scheme=request.param)
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith("file:") else None)
    tab.goto(page_file.as_uri())
    tab.scheme = request.param
    yield tab
    context.close()
    assert complaints == []


def test_the_page_follows_the_colour_scheme_of_the_reader(page: Any) -> None:
    paper, ink = (
        sum(map(int, re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{name}"))[:3]))
        for name in ("backgroundColor", "color")
    )
    assert (paper > 600 > ink) if page.scheme == "light" else (paper < 150 < ink)
    figure = page.locator("figure svg").first
    assert figure.evaluate("e => getComputedStyle(e).color") == page.evaluate("getComputedStyle(document.body).color")


def test_a_phone_shows_the_page_without_scrolling_sideways(page: Any) -> None:
    for closed in ("details:not([open])", "none"):
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], closed
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    wide = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll, svg, .unseen, .skip')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"
    )
    assert wide == []  # tables scroll in boxes of their own


def test_tables_sort_by_keyboard(page: Any) -> None:
    table = page.locator("table.numbers:visible").first
    header = table.locator("thead th").nth(1)
    for _ in range(80):
        page.keyboard.press("Tab")
        if header.locator("button").evaluate("one => one === document.activeElement"):
            break
    else:
        pytest.fail("Tab does not reach the header")
    assert header.get_attribute("aria-sort") is None
    cells = table.locator("tbody tr td:nth-child(2)")
    for pressed, order in [("Enter", "ascending"), ("Space", "descending")]:
        page.keyboard.press(pressed)
        assert header.get_attribute("aria-sort") == order
        values = [float(text.split()[0]) for text in cells.all_inner_texts()]
        assert len(values) == 4 and values == sorted(values, reverse=order == "descending")
    assert table.locator("[aria-sort]").count() == 1


def test_a_reader_chooses_endpoint_seeds_and_methods(page: Any) -> None:
    panels, dots = page.locator(".panel:visible"), page.locator(".panel:visible .seed:visible")
    everything = panels.count(), dots.count()
    page.locator(".controls label", has_text="stsb pearson").click()
    assert panels.count() == 1 < everything[0]
    some = dots.count()
    page.locator(".controls label:has([name=seed])").first.click()
    assert dots.count() == some * 2 // 3  # one of three seeds
    page.locator(".controls summary", has_text="Methods").click()
    rows = page.locator("tr[data-method]:visible").count()
    page.locator(".controls label", has_text="stl").click()
    assert page.locator("tr[data-method]:visible").count() < rows
    page.locator(".controls label:has([name=all-seeds])").click()
    page.locator(".controls label:has([name=all-methods])").click()
    page.locator(".controls label:has([value=''])").click()
    assert (panels.count(), dots.count()) == everything


def test_a_pointer_on_a_dot_shows_its_seed_in_all_rows(page: Any) -> None:
    tip = page.locator("#tip")
    assert not tip.is_visible()
    page.locator(".seed[data-seed='1']").first.hover(force=True)
    assert re.search(r", seed 1: [-+]0?\.?\d", tip.inner_text())
    same = page.locator(".seed.same")
    assert same.count() == page.locator(".seed[data-seed='1']").count() > 3
    page.mouse.move(1, 400)
    assert same.count() == 0 and not tip.is_visible()


def test_without_scripts_everything_is_there(browser: Any, page_file: Path) -> None:
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    assert not tab.locator(".controls").first.is_visible()
    assert tab.locator(".panel:visible .seed title").count() > 9
    fold = tab.locator("details.fold", has_text="Every test").locator("summary").first
    fold.click()
    assert tab.get_by_text("exact p", exact=True).first.is_visible()
    context.close()


@pytest.mark.parametrize("width", [768, 1280, 1920])
def test_larger_screens_show_the_page_without_scrolling_sideways(browser: Any, page_file: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for plot in tab.locator("td.plot").all()[:9]:
        assert plot.bounding_box()["width"] > 120
    context.close()
