"""Specs: split, parsed, expanded and formatted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from mtlbench.contract.plugin import Plugin
from mtlbench.contract.spec import Names, expand_spec, parse_spec, quoted, split_specs
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry
from mtlbench.text.encoder import Encoder


def test_lists_split_at_commas_and_spaces_outside_brackets() -> None:
    assert split_specs("sum, cagrad[c=0.4,rescale=c2] mgda") == ["sum", "cagrad[c=0.4,rescale=c2]", "mgda"]
    assert split_specs(" , ") == []


def test_values_separated_by_a_slash_or_bar_expand() -> None:
    assert expand_spec("a[c=0.2/0.4]") == expand_spec("a[c=0.2|0.4]") == [("a", {"c": "0.2"}), ("a", {"c": "0.4"})]
    assert len(expand_spec("a[c=1/2/3,d=4/5]")) == 6


@pytest.mark.parametrize("text", ["a[", "a]", "[c=1]", "a[c]", "a[c=]", "a[=1]", "a[c=1,c=2]", ""])
def test_unreadable_specs_are_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert "\n" not in str(caught.value)


@dataclass
class Texts(Plugin):
    """Texts of every kind, as a task's parameters are."""

    kind = "task"
    name = "texts"
    one: str = "x"
    many: Names = ("a", "b")
    either: Annotated[int | Names | None, Field(union_mode="left_to_right")] = None


@dataclass
class Method(Texts):
    """The same, in a spec that may be a list of several."""

    kind = "method"
    name = "listed"


SPECIAL = st.text(alphabet="ab \",/|[]=:\\'\t\n§", max_size=8) | st.text(max_size=5)
PIECES = st.lists(SPECIAL.map(str.strip), min_size=1, max_size=3).map(tuple)


@given(SPECIAL, PIECES, st.none() | st.integers() | PIECES)
def test_a_spec_of_any_texts_reads_back(one: str, many: tuple[str, ...], either: Any) -> None:
    if either is not None and not isinstance(either, int) and len(either) == 1:
        either = None  # a list of one number is that number
    for cls in (Texts, Method):
        first = cls(one, many, either)
        name, parameters = parse_spec(first.spec)
        assert (
            name == cls.name and cls.make(dict(parameters)) == first and cls.make(dict(parameters)).spec == first.spec
        )
        assert [parse_spec(spec) for spec in split_specs(f"sum,{first.spec} {first.spec}")[1:]] == [
            (name, parameters)
        ] * 2


@given(SPECIAL, SPECIAL)
def test_a_method_of_any_text_is_one_method(one: str, other: str) -> None:
    for text in (one, other):
        assert [Method.make({**given}) for _, given in expand_spec(Method(text).spec)] == [Method(text)]
    pieces = "/".join(quoted(text, ",/|") for text in (one, other))
    assert [given["one"] for _, given in expand_spec(f"listed[one={pieces}]")] == [one, other]


@pytest.mark.parametrize(
    ("value", "one"),
    [
        ('"Rating [1-5]"', "Rating [1-5]"),
        ('"a, b=c"', "a, b=c"),
        ('" x "', " x "),
        ('""', ""),
        ('""""', '"'),
        ('"say ""no"""', 'say "no"'),
        # what is no whole quoted value is plain text, as it always was
        ('a"b', 'a"b'),
        ('"a"b', '"a"b'),
        ('"a', '"a'),
        ("it's", "it's"),
        ("C:\\data\\a.csv", "C:\\data\\a.csv"),
        ("a=b", "a=b"),
        ("owner/name", "owner/name"),
    ],
)
def test_a_value_in_quotes(value: str, one: str) -> None:
    assert Texts.make(dict(parse_spec(f"texts[one={value}]")[1])).one == one


@pytest.mark.parametrize(
    ("value", "many"),
    [
        ('good/"n/a"/bad', ("good", "n/a", "bad")),
        ('"pos/neg"', ("pos/neg",)),
        ('"a, b" / "c]" / d', ("a, b", "c]", "d")),
        ("a|b/c", ("a|b", "c")),
        ('a"b/c"d', ('a"b', 'c"d')),
        ("very good/bad", ("very good", "bad")),
    ],
)
def test_a_list_with_quotes(value: str, many: tuple[str, ...]) -> None:
    made = Texts.make(dict(parse_spec(f"texts[many={value}]")[1]))
    assert made.many == many and Texts.make(dict(parse_spec(made.spec)[1])) == made


@pytest.mark.parametrize(
    "spec",
    [
        "table[called=a,train=/data/a.csv,dev=0.1,text=one two,label=a/b]",
        "table[called=a,train=C:\\a.csv,dev=b.csv,text=t,label=l,classes=neg/neu/pos]",
        'table[called=a,train=a"b.csv,dev=b.csv,text=t,label=l,range=-0.5:4.5]',
        "hub[called=a,text=t,label=l,labels=28,metric=micro_f1/exact_match,path=owner/name]",
        "fixed[w=2:1:0.5]",
        "minilm[layers=3]",
    ],
)
def test_written_forms_stay(spec: str) -> None:
    registry = load_registry()
    make = {"fixed": registry.method, "minil": Encoder.parse}.get(spec[:5], registry.task)
    assert make(spec).spec == spec


@pytest.mark.parametrize("folder", ["bert [v2]", 'my "bert"', '"bert"', "a,b c", "x]"])
def test_a_model_in_a_folder_of_any_name(folder: str) -> None:
    spec = Encoder.make({"origin": folder, "layers": 2}).spec
    assert Encoder.parse(spec) == Encoder.make({"origin": folder, "layers": 2})
    assert Encoder.parse(Encoder.make({"origin": folder}).spec).origin == folder
