"""Tokenised rows, and their cache."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtlbench.plan.cells import Workload
from mtlbench.text import tokens as tokens_module
from mtlbench.text.encoder import Encoder
from mtlbench.text.problem import MODULES
from mtlbench.text.tokens import Tokenizer, Tokens, cache_folder

Make = Callable[..., Workload]
TEXTS = [("the good dog runs", "a cat"), ("a cat", "the red house sleeps very slowly"), ("film", "film")]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many rows are tokenised, call by call."""
    found: list[int] = []
    original = Tokenizer.encode

    def spy(self: Tokenizer, texts: Any) -> Tokens:
        found.append(len(texts))
        return original(self, texts)

    monkeypatch.setattr(Tokenizer, "encode", spy)
    return found


def tokenizer(folder: Path, max_length: int = 32, pairs: str = "cross") -> Tokenizer:
    encoder = Encoder.parse(f"{folder}[pairs={pairs}]")
    return Tokenizer(encoder, encoder.locate(), max_length)


def parts(tokens: Tokens) -> tuple[Any, ...]:
    return tokens.ids.tolist(), tokens.kinds.tolist(), tokens.offsets.tolist(), tokens.sides, tokens.cut


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "tokens").iterdir())


# The cache of tokens


@pytest.mark.parametrize("pairs", ["cross", "apart"])
def test_rows_are_tokenised_once(tiny_bert: Path, cache: Path, calls: list[int], pairs: str) -> None:
    first = tokenizer(tiny_bert, pairs=pairs).tokens(TEXTS)
    again = tokenizer(tiny_bert, pairs=pairs).tokens(TEXTS)
    assert calls == [3]
    assert parts(first) == parts(again) == parts(tokenizer(tiny_bert, pairs=pairs).encode(TEXTS))
    (entry,) = entries(cache)
    assert sorted(file.name for file in entry.iterdir()) == ["about.json", "ids.npy", "kinds.npy", "offsets.npy"]
    assert again.ids.base is not None and not again.ids.flags.writeable  # mapped from the file
    assert (again.ids.dtype, again.kinds.dtype, again.offsets.dtype) == (np.int32, np.int8, np.int64)


def test_whatever_decides_the_tokens_is_in_the_key(tiny_bert: Path, cache: Path, monkeypatch: Any) -> None:
    tokenizer(tiny_bert).tokens(TEXTS)
    tokenizer(tiny_bert, max_length=16).tokens(TEXTS)
    tokenizer(tiny_bert, pairs="apart").tokens(TEXTS)
    tokenizer(tiny_bert).tokens(TEXTS[:2])
    tokenizer(tiny_bert).tokens([(first + second,) for first, second in TEXTS])
    other = tokenizer(tiny_bert)
    other._files = replace(other._files, fingerprint="other")
    other.tokens(TEXTS)
    assert len(entries(cache)) == 6
    monkeypatch.setattr(tokens_module, "FORMAT", tokens_module.FORMAT + 1)
    tokenizer(tiny_bert).tokens(TEXTS)
    assert len(entries(cache)) == 7


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "no json", "other json", "pickle"])
def test_a_damaged_entry_is_made_anew(tiny_bert: Path, cache: Path, calls: list[int], damage: str) -> None:
    expected = parts(tokenizer(tiny_bert).tokens(TEXTS))
    (entry,) = entries(cache)
    ids, about = entry / "ids.npy", entry / "about.json"
    if damage == "truncated":
        ids.write_bytes(ids.read_bytes()[:-3])
    elif damage == "changed":
        ids.write_bytes(ids.read_bytes()[:-4] + b"\x01\x00\x00\x00")
    elif damage == "missing":
        (entry / "kinds.npy").unlink()
    elif damage == "no json":
        about.write_bytes(b"\xff{")
    elif damage == "other json":
        about.write_text("[]")
    else:
        np.save(ids, np.array([{}], dtype=object), allow_pickle=True)
        checksums = json.loads(about.read_text())
        checksums["checksums"]["ids"] = tokens_module._checksum(ids)
        about.write_text(json.dumps(checksums))
    assert parts(tokenizer(tiny_bert).tokens(TEXTS)) == expected
    assert parts(tokenizer(tiny_bert).tokens(TEXTS)) == expected
    assert calls == [3, 3]
    assert entries(cache) == [entry]


def test_without_a_place_for_a_cache_rows_are_tokenised_all_the_same(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (str(tmp_path / "file"), ""):
        monkeypatch.setenv("MTLBENCH_CACHE", place)
        assert len(tokenizer(tiny_bert).tokens(TEXTS)) == 3
    assert calls == [3, 3]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MTLBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / "mtlbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "mtlbench"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "mtlbench"


def _tokenise(folder: Path, cache: Path, barrier: Any, answers: Any) -> None:
    os.environ["MTLBENCH_CACHE"] = str(cache)  # the server that forks this process may have an older one
    made = tokenizer(folder)
    barrier.wait()
    answers.put(parts(made.tokens(TEXTS * 50)))


def test_several_processes_may_race(tiny_bert: Path, cache: Path) -> None:
    context = multiprocessing.get_context("forkserver")  # that of the cells, which has imported transformers
    context.set_forkserver_preload(["mtlbench.execute.worker", *MODULES])
    barrier, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_tokenise, args=(tiny_bert, cache, barrier, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert found == [parts(tokenizer(tiny_bert).encode(TEXTS * 50))] * 3
    (entry,) = entries(cache)  # and no temporary folder beside it
    assert tokens_module.load(entry) is not None


def test_what_lies_there_whole_is_not_replaced(tiny_bert: Path, cache: Path) -> None:
    made = tokenizer(tiny_bert).tokens(TEXTS)
    (entry,) = entries(cache)
    before = (entry / "ids.npy").stat().st_ino
    tokens_module.save(made, entry)
    assert (entry / "ids.npy").stat().st_ino == before
    assert entries(cache) == [entry]


def test_rows_in_pieces_are_the_rows(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [parts(tokenizer(tiny_bert, 8, pairs).encode(TEXTS * 3)) for pairs in ("cross", "apart")]
    monkeypatch.setattr(tokens_module, "CHUNK", 2)
    assert [parts(tokenizer(tiny_bert, 8, pairs).encode(TEXTS * 3)) for pairs in ("cross", "apart")] == whole


# What the tokens are


def test_cut_rows_are_counted(tiny_bert: Path) -> None:
    """[CLS] the good dog runs [SEP] a cat [SEP] is 9 tokens, the second pair 11, the third 5."""
    assert [tokenizer(tiny_bert, length).encode(TEXTS).cut for length in (8, 9, 10, 11)] == [2, 1, 1, 0]
    both = [("the good dog runs very slowly slowly", "the red house sleeps very slowly slowly")]
    assert tokenizer(tiny_bert, 8, "apart").encode(both).cut == 1  # a row, though both its texts were cut
    assert tokenizer(tiny_bert, 500).max_length == 64  # the encoder has no more positions


def test_rows_taken_are_those_rows(tiny_bert: Path) -> None:
    for pairs in ("cross", "apart"):
        made = tokenizer(tiny_bert, pairs=pairs).encode(TEXTS)
        taken = made.take(np.array([2, 0]))
        pieces = np.split(taken.ids, np.cumsum(taken.lengths)[:-1])
        expected = [
            made.ids[made.offsets[n] : made.offsets[n + 1]].tolist()
            for n in ([2, 0] if pairs == "cross" else [4, 0, 5, 1])
        ]
        assert [piece.tolist() for piece in pieces] == expected


@pytest.mark.minilm
def test_pairs_are_joined_with_sep_or_encoded_apart() -> None:
    for pairs, texts in (("cross", 1), ("apart", 2)):
        encoder = Encoder.parse(f"minilm[layers=1,pairs={pairs}]")
        encoded = Tokenizer(encoder, encoder.locate(), 32).encode([("a cat", "a dog runs"), ("one", "two")])
        batch = encoded.take(np.array([0, 1]))
        assert (batch.rows, len(batch.lengths)) == (2, 2 * texts)
        separators = (batch.ids[: batch.lengths[0]] == 102).sum()
        assert separators == (2 if pairs == "cross" else 1)
        assert batch.kinds.max() == (1 if pairs == "cross" else 0)
