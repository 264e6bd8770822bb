"""The page of a map in a real browser: choices, sliders, links, keyboard, a phone, and both colour schemes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import PHONE, running_browser

from mtlbench.map.result import MapResult
from mtlbench.map.tally import Comparisons, points

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'mtlbench[browser]'")
CELLS = "[...document.querySelectorAll('.panel tbody td')].map(td => [td.className, td.innerText].join(' '))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser(sync_api) as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, map_page: str) -> str:
    file = tmp_path_factory.mktemp("page") / "map.html"
    file.write_text(map_page, encoding="utf-8")
    return Path(file).as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page on a phone. Console messages and requests are errors."""
    context = browser.new_context(viewport=PHONE)
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith("file:") else None)
    tab.goto(address)
    yield tab
    context.close()
    assert complaints == []


def texts(page: Any, study: str, method: str) -> list[str]:
    """The numbers of a panel, from the upper left to the lower right."""
    panel = page.locator(
        f"section[data-study={study}] .panel", has=page.locator("b", has_text=re.compile(f"^{method}$"))
    )
    return [text for text in panel.locator("tbody td span").all_inner_texts() if text]


def test_the_script_draws_what_was_written(browser: Any, page: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    static = context.new_page()
    static.goto(address)
    assert static.evaluate(CELLS) == page.evaluate(CELLS)
    counts = ".count"
    assert static.locator(counts).all_inner_texts() == page.locator(counts).all_inner_texts()
    assert not static.locator(".choices").is_visible() and page.locator(".choices").is_visible()
    context.close()


def test_choices_show_other_gains_and_the_address_keeps_them(browser: Any, page: Any, page_map: MapResult) -> None:
    page.select_option("select[name=comparator]", "fixed[trials=8]")
    page.select_option("select[name=endpoint]", "worst")
    gains = Comparisons(page_map).of("loss-noise", "fixed[trials=8]", "mgda", "worst").values()
    assert sorted(texts(page, "loss-noise", "mgda")) == sorted(points(gain.mean) for gain in gains)
    tests = page.locator("section[data-study=width-relatedness] .tests").inner_text()
    assert tests.startswith("Not trained in this study: fixed weights, coordinate search, 8 trials.")
    shown = page.locator("[data-when-endpoint]:visible, [data-when-comparator]:visible").all_inner_texts()
    assert len(shown) == 2 and "log error of the worst task" in shown[0] and "8 trials" in shown[1]
    before, context = page.evaluate(CELLS), browser.new_context(viewport=PHONE)
    other = context.new_page()
    other.goto(page.url)
    assert other.evaluate(CELLS) == before
    context.close()


def test_a_slider_shows_the_other_slice(page: Any, page_map: MapResult) -> None:
    section = page.locator("section[data-study=width-relatedness]")
    assert section.locator("output").inner_text() == "1"
    section.locator("input").focus()
    page.keyboard.press("ArrowRight")
    assert section.locator("output").inner_text() == "10"
    found = Comparisons(page_map).of("width-relatedness", "step-rules", "mgda")
    expected = [points(gain.mean) for setting, gain in found.items() if setting.loss_ratio == 10.0]
    assert sorted(texts(page, "width-relatedness", "mgda")) == sorted(expected)


def test_the_numbers_of_a_cell_come_by_touch_and_by_keyboard(page: Any, page_map: MapResult) -> None:
    panel = page.locator("section[data-study=loss-noise] .panel").nth(1)
    panel.locator("tbody td").nth(1).click()
    detail = page.locator("#detail")
    gain = next(
        gain
        for setting, gain in Comparisons(page_map).of("loss-noise", "step-rules", "mgda").items()
        if (setting.loss_ratio, setting.noise_ratio) == (0.3, 25.0)
    )
    text = page.locator("section[data-study=loss-noise] .panel b").all_inner_texts()
    shown = detail.inner_text()
    assert shown.startswith(
        f"{text[1]} against equal sum, best of three step rules\nloss ratio 0.3, noise ratio 25\ngain "
    )
    assert "4 seeds; 4 trials against 12" in shown and "times the comparator" in shown
    assert re.search(r"gain [+−]?[\d.]+ \[[+−]?[\d.]+, [+−]?[\d.]+\], p (=|<) [\d.]+, (not )?separable", shown)
    assert gain.gain.seeds == 4
    panel.locator("tbody td").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert "loss ratio 0.3, noise ratio 5" in detail.inner_text()
    page.keyboard.press("Escape")
    assert not detail.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling_in_either_scheme(browser: Any, address: str, scheme: Any) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(address)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    wide = tab.evaluate(
        "[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll, svg')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"
    )
    assert wide == []
    paper = sum(map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))
    grey = sum(
        map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.querySelector('.g5')).backgroundColor")))
    )
    assert (paper > 600 < grey) if scheme == "light" else (paper < 150 > grey - 50)
    context.close()
