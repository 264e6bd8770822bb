"""Give records the keys of today's code, where history proves that the code which made them computes the same.

    python -m benchmarks.rekey results/reference results/reference-tuning

A cell's key holds a fingerprint of its method's file. When the rule for fingerprints changes, every key does, although
no result can. For each record this script

1. rebuilds the key from the record itself, which shows that the record has all that the key is made of;
2. finds the commit whose file of the method has the recorded fingerprint, by the rule of that time;
3. takes the new fingerprint of that old file and of today's: only if they agree is the record written under a new key.

A record that fails one of the three is named and left as it is, and the exit code is 1. A record that has today's key
already is left alone, so the script can run again.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mtlbench.plan.cells import fingerprint
from mtlbench.plugins.fingerprint import of_code, source_fingerprint
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import Recipe
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_record, read_side_file
from mtlbench.records.store import Store
from mtlbench.text.encoder import Encoder
from mtlbench.text.problem import PROTOCOL

HERE = Path(__file__).parent.parent
REGISTRY = load_registry()


class NotProven(Exception):
    """Why a record keeps its key."""


def group_of(record: Record) -> str:
    """Return the group that a record's own fields make."""
    recipe = Recipe.model_validate(record["recipe"])
    recipe = recipe.model_copy(update={"device": recipe.device.partition(":")[0]})
    tasks = [(REGISTRY.task(task["spec"]), task["fingerprint"]) for task in record["tasks"].values()]
    settings = Encoder.parse(record["encoder"]["spec"]).counted
    identity = {
        "protocol": PROTOCOL,
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True, exclude={"model"}),
        "tasks": [{"name": task.name, "parameters": task.parameters, "data": data} for task, data in tasks],
        "encoder": {**settings, "origin": record["encoder"]["fingerprint"]},
    }
    return fingerprint(identity)


def key_of(record: Record, source: str) -> str:
    """Return the key that a record's own fields make, with a fingerprint of its method's code."""
    method = record["method"]
    parts = {name: record[name] for name in ("group", "seed")}
    return fingerprint({**parts, "method": method["name"], "parameters": method["parameters"], "source": source})


def fingerprint_before(code: str) -> str:
    """Return a file's fingerprint by the earlier rule: the syntax tree, imports and local names included."""

    def canonical(node: object) -> object:
        if isinstance(node, ast.AST):
            fields = {name: canonical(value) for name, value in ast.iter_fields(node) if value not in (None, [])}
            return [type(node).__name__, fields]
        if isinstance(node, list):
            return [canonical(item) for item in node if not _is_text(item) and item not in searched]
        return repr(node)

    tree = ast.parse(code)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    searched = [statement for one in classes for statement in one.body if _is_search(statement)]
    return hashlib.sha256(json.dumps(canonical(tree), sort_keys=True).encode()).hexdigest()


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_search(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == "search" for target in targets)


@cache
def versions(file: str) -> dict[str, str]:
    """Return earlier fingerprint → text of every version of a file in history."""
    commits = _git("log", "--follow", "--format=%H", "--", file).split()
    texts = [_git("show", f"{commit}:{file}") for commit in commits if _has(commit, file)]
    return {fingerprint_before(text): text for text in texts}


def _has(commit: str, file: str) -> bool:
    return bool(_git("ls-tree", commit, file))


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=HERE, check=True, capture_output=True, text=True).stdout


def proven_source(record: Record) -> str:
    """Return today's fingerprint of a record's method, once history shows that it is of the code that ran.

    :raises NotProven: when the code that ran is not in history, or computes something else.
    """
    method = REGISTRY.method_class(record["method"]["name"])
    file = Path(inspect.getfile(method)).resolve().relative_to(HERE).as_posix()
    then = versions(file).get(record["method"]["source_sha256"])
    if then is None:
        raise NotProven(f"no version of {file} in history has its fingerprint")
    if of_code(then) != source_fingerprint(method):
        raise NotProven(f"{file} computes something else today")
    return source_fingerprint(method)


def rekeyed(record: Record) -> Record:
    """Return a record under its new key.

    :raises NotProven: as :func:`proven_source`, and when the record's fields do not make its key.
    """
    source = record["method"]["source_sha256"]
    if (group_of(record), key_of(record, source)) != (record["group"], record["key"]):
        raise NotProven("its fields do not make its key")
    proven = proven_source(record)
    return {**record, "key": key_of(record, proven), "method": {**record["method"], "source_sha256": proven}}


def rekey(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Rekey a results folder; return old key → new key, and what was left, with the reason."""
    store, keys, left = Store(folder), dict[str, str](), list[str]()
    for path in sorted(folder.glob("*/*/*.json")):
        record = read_record(path)
        if record["method"]["source_sha256"] == source_fingerprint(REGISTRY.method_class(record["method"]["name"])):
            continue
        try:
            new = rekeyed(record)
        except NotProven as why:
            left.append(f"{path}: {why}")
            continue
        endings = {what: entry["name"].rpartition(".")[2] for what, entry in record["files"].items()}
        files = {what: (ending, read_side_file(record, what)) for what, ending in endings.items()}
        new.pop("path", None)
        store.save(new, files)
        store.remove(record)
        keys[record["key"]] = new["key"]
    return keys, left


def rekey_tuned(file: Path, keys: dict[str, str]) -> None:
    """Replace the keys in a tuned.json."""

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: replaced(part) for name, part in value.items()}
        if isinstance(value, list):
            return [replaced(part) for part in value]
        return keys.get(value, value) if isinstance(value, str) else value

    content = replaced({name: part for name, part in json.loads(file.read_bytes()).items() if name != "checksum"})
    text = json.dumps({**content, "checksum": fingerprint(content)}, indent=1, allow_nan=False)
    file.write_text(f"{text}\n", encoding="utf-8")


def main() -> int:
    failed = False
    for folder in map(Path, sys.argv[1:]):
        keys, left = rekey(folder)
        tuned = folder / "tuned.json"
        if keys and tuned.exists():
            rekey_tuned(tuned, keys)
        print(f"{folder}: {len(keys)} records have new keys, {len(left)} were left")
        for line in left:
            print(f"  {line}")
        failed |= bool(left)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
