"""Write what docs/records.md says of fields, and the JSON Schema: ``python docs/record_page.py`` renews both.

Everything comes from the types that validate records and histories, and from the recipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtlbench.recipe.suite import Recipe
from mtlbench.records.history_form import ROW_FORM
from mtlbench.records.record import RECORD_FORM

FOLDER = Path(__file__).resolve().parent
PAGE, SCHEMA_FILE = FOLDER / "records.md", FOLDER / "record.schema.json"

Schema = Mapping[str, Any]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a record; ``$defs`` has its parts, and the row of a history as ``HistoryRow``."""
    record, row = RECORD_FORM.json_schema(), ROW_FORM.json_schema()
    parts = record.pop("$defs")
    own = parts["RecipeEntry"]["properties"]
    recipe = Recipe.model_json_schema()["properties"]
    parts["RecipeEntry"]["properties"] = {name: own.get(name, field) for name, field in recipe.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_plain(record),
        "title": "Record",
        "$defs": {name: _plain(part) for name, part in sorted({**parts, "HistoryRow": row}.items())},
    }


def _plain(value: Any) -> Any:
    """Return a schema without generated titles, its descriptions on one line in Markdown."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: _plain(item) for name, item in value.items() if not (name == "title" and isinstance(item, str))}
    if isinstance(plain.get("description"), str):
        plain["description"] = " ".join(plain["description"].split()).replace("``", "`")
    return plain


def tables(found: Schema, top: str = "Record") -> str:
    """Return the table of a record's fields, and one for each of its parts, in Markdown."""
    parts = {name: part for name, part in found["$defs"].items() if name not in (top, "HistoryRow")}
    order = list(dict.fromkeys(name for name in _references(found["properties"], parts)))
    sections = [table(found)]
    for name in order:
        sections.append(f"### {_title(name)}\n\n{parts[name]['description']}\n\n{table(parts[name])}")
    return "\n\n".join(sections)


def _references(value: Any, parts: Mapping[str, Schema]) -> Iterator[str]:
    """Yield the names of the parts that a schema refers to, each followed by those that it refers to itself."""
    if isinstance(value, dict):
        if "$ref" in value:
            name = value["$ref"].rpartition("/")[2]
            yield name
            yield from _references(parts[name]["properties"], parts)
        for item in value.values():
            yield from _references(item, parts)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item, parts)


def table(part: Schema) -> str:
    """Return a table of an object's fields. Optional fields, which older records lack, are marked with an asterisk."""
    required = part.get("required", ())
    rows = [
        f"| `{name}`{'' if name in required else ' *'} | {_type(field)} | {field.get('description', '')} |"
        for name, field in part["properties"].items()
    ]
    return "\n".join(
        ["| field | type | meaning |", "| --- | --- | --- |", *(row.replace("a|b", r"a\|b") for row in rows)]
    )


def _type(field: Schema) -> str:
    """Return the type of a field, in words."""
    if "$ref" in field:
        title = _title(field["$ref"].rpartition("/")[2])
        return f"[{title}](#{title.replace(' ', '-')})"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(option) for option in field["anyOf"]))
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_item(field['items'])}" if field.get("items") else "list"
    if field.get("type") == "object":
        values = field.get("additionalProperties")
        return f"object of {_item(values)}" if isinstance(values, dict) and values else "object"
    return str(field.get("type", "any"))


def _item(field: Schema) -> str:
    """Return the type of a member of a list or an object."""
    return f"({_type(field)})" if "anyOf" in field else _type(field)


def _title(name: str) -> str:
    """Return the heading of a part: ``method`` for ``MethodEntry``."""
    return name.removesuffix("Entry").lower()


def page(text: str, found: Schema) -> str:
    """Return the page with its tables renewed.

    :raises ValueError: when the marks around a table are missing.
    """
    for mark, content in (("record", tables(found)), ("history row", table(found["$defs"]["HistoryRow"]))):
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        if begin not in text or end not in text:
            raise ValueError(f"{PAGE.name} lacks the marks {begin.strip()} and {end}")
        text = f"{text.split(begin)[0]}{begin}{content}\n{end}{text.split(end)[1]}"
    return text


def written(found: Schema) -> str:
    """Return the schema's file."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the schema and the tables."""
    found = schema()
    SCHEMA_FILE.write_text(written(found), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
