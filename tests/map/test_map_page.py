"""The page of a map as it is written: complete without scripts, escaped, and with all gains for its script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from page_maps import NASTY, World, made_map

from mtlbench.errors import UsageError
from mtlbench.map.conclusions import conclusions, verdict
from mtlbench.map.endpoints import ENDPOINTS
from mtlbench.map.page import write_page
from mtlbench.map.page.write import render
from mtlbench.map.result import MapResult
from mtlbench.map.tally import Comparisons

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a reader without scripts sees: panels by study and method, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.panels: dict[tuple[str, str], list[dict[str, str | None]]] = {}
        self.study = self.method = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.study = str(found["data-study"])
        if tag == "table" and found.get("class") == "panel":
            self.method = str(found["data-method"])
        if tag == "td" and "data-x" in found:
            self.panels.setdefault((self.study, self.method), []).append(found | {"text": ""})

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)
            if self.open[-2:] == ["td", "span"]:
                self.panels[self.study, self.method][-1]["text"] = data


@pytest.fixture(scope="module")
def page(map_page: str) -> Page:
    return Page(map_page)


@pytest.fixture(scope="module")
def data(map_page: str) -> Any:
    return json.loads(re.search(r'id="map-data">(.*?)</script>', map_page, re.DOTALL)[1])  # type: ignore[index]


def test_the_page_is_well_formed_and_asks_nobody_for_anything(page: Page, map_page: str) -> None:
    assert page.open == []
    assert not re.search(r'(src|href)="(?!#)', re.sub(r"<svg.*?</svg>", "", map_page, flags=re.DOTALL))
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\((?!#)", map_page)


def test_the_verdict_and_every_conclusion_can_be_read_without_scripts(page: Page, page_map: MapResult) -> None:
    text = re.sub(r"\s+", " ", "".join(page.text))
    found = conclusions(page_map)
    assert len(found) > 8
    for sentence in [*verdict(found, page_map), *(one.text for one in found), *(f"Rule: {one.rule}" for one in found)]:
        assert sentence in text


def test_panels_show_the_gains_over_the_comparator_that_is_named(page: Page, page_map: MapResult, data: Any) -> None:
    comparisons = Comparisons(page_map)
    for name, study in page_map.studies.items():
        comparator = "single-task" if name == "rows-relatedness" else "step-rules"
        methods = data["studies"][name]["methods"]
        assert set(methods) == set(study.methods)
        for number, method in enumerate(methods):
            found = comparisons.of(name, comparator, method).values()
            gains = [gain for gain in found if name == "loss-noise" or gain.gain.setting.loss_ratio == 1.0]
            cells = [cell for cell in page.panels[name, str(number)] if cell["class"] != "none"]
            titles = [re.search(r"gain (\S+(?: \[.*?\])?) \(95%", str(cell["title"])) for cell in cells]
            assert sorted(title[1] for title in titles if title) == sorted(gain.text for gain in gains)
            assert [cell["text"] for cell in cells] == [title[1].split()[0] for title in titles if title]
            hatched = sum("ns" in str(cell["class"]).split() for cell in cells)
            assert hatched == sum(not gain.gain.separable for gain in gains)


def test_a_setting_that_was_not_trained_is_an_empty_place(page: Page) -> None:
    first = page.panels["loss-noise", "0"]
    assert len(first) == 15 and [cell["class"] for cell in first].count("none") == 1


def test_the_script_gets_every_gain_of_every_comparison(data: Any, page_map: MapResult) -> None:
    for name, study in page_map.studies.items():
        packed = data["studies"][name]
        for comparator in study.comparators:
            for endpoint in study.endpoints:
                expected = page_map.gains(name, comparator.spec, endpoint)
                found = packed["gains"].get(comparator.spec, {}).get(endpoint)
                assert (found is None) == (not expected)
                for gain in expected:
                    setting = study.settings.index(gain.setting)
                    place = packed["methods"].index(gain.method) * len(study.settings) + setting
                    assert found["mean"][place] == pytest.approx(-10.0 * gain.mean, abs=0.51)
                    assert found["half"][place] == pytest.approx(5.0 * (gain.high - gain.low), abs=0.51)
                    assert found["separable"][place] == "01"[gain.separable]
                    for side in ("seeds", "trials", "comparator_trials"):
                        values = found[side]
                        assert getattr(gain, side) == (values[place] if isinstance(values, list) else values)
    assert set(data["endpoints"]) == set(ENDPOINTS)


def test_a_method_of_any_name_is_text(map_page: str, page: Page, data: Any) -> None:
    assert NASTY in data["studies"]["loss-noise"]["methods"]
    assert NASTY in "".join(page.text)
    assert "<b>&" not in map_page and map_page.count("</script>") == 2


def test_counts_of_trials_cells_and_tests_stand_beside_the_panels(page: Page) -> None:
    text = "".join(page.text)
    assert "equal sum, best of three step rules (12 trials); the method has 4 trials." in text
    assert "4 seeds; 14 cells × 10 methods = 140 tests, Benjamini–Hochberg at 5 % over all of them." in text


def test_the_measured_cosine_is_in_the_cells_of_its_study(map_page: str) -> None:
    section = re.search(r'<section data-study="width-relatedness">.*?</section>', map_page, re.DOTALL)
    assert section is not None
    notes = re.findall(r"<small>(.*?)</small>", section[0])
    assert len(notes) == 6 * 7 and set(notes[:3]) <= {note for note in notes if note.startswith(("−", "."))}


def test_provenance_and_times_are_those_of_the_headers(page: Page) -> None:
    text = " ".join(page.text)
    assert "2026-01-02T03:04:05+00:00" in text and "abc123" in text and "torch 2.13" in text
    assert "2:00 min" in text and "75%" in text


def test_the_same_map_gives_the_same_page(map_page: str, page_map: MapResult, tmp_path: Path) -> None:
    write_page(page_map, tmp_path / "map.html")
    assert (tmp_path / "map.html").read_text(encoding="utf-8") == map_page


def empty_maps() -> Iterator[tuple[MapResult, str]]:
    yield MapResult({}), "the map has no cells yet: run mtlbench map"
    lonely = made_map(World(seeds=4), studies=["rows-relatedness"])
    study = lonely.studies["rows-relatedness"]
    cells = [type(c)(c.setting, c.columns[:4], c.seeds, c.dev[:, :4], c.test[:, :4]) for c in study.cells]
    yield (
        MapResult({"rows": type(study)("rows", "Rows", study.knobs, cells)}),
        "the map has nothing to compare: train at least two methods",
    )


@pytest.mark.parametrize(("result", "message"), [*empty_maps()], ids=["no cells", "one method"])
def test_a_map_without_comparisons_is_one_clear_line(result: MapResult, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        render(result)


def test_a_page_that_cannot_be_written_is_one_clear_line(page_map: MapResult, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("mtlbench.map.page.write.render", lambda result: "")
    with pytest.raises(UsageError, match=r"^cannot write .*missing.*: No such file or directory$"):
        write_page(page_map, tmp_path / "missing" / "map.html")
