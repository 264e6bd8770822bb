"""Tokenised rows, as flat arrays: made once, and kept in the user's cache folder for every later cell.

The cache is ``MTLBENCH_CACHE`` (empty: none), else the platform's folder for caches; it may be deleted at any time.
Its names are hashes of all that decides the tokens, so that nothing in it can be out of date.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.engine.packed.pack import Sequences
from mtlbench.errors import UsageError, one_line, shown
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.model_files import tokenizer_files

FORMAT = 1
"""Raised by one whenever the files of the cache change their form."""
CHUNK = 2048
"""Rows that are tokenised in one call: the tokenizer's own objects take a hundred times the memory of the tokens."""

_NAMES = ("ids", "kinds", "offsets")
Texts = Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Tokens:
    """Tokenised rows, flat.

    :param ids: token numbers of all sequences, one after another.
    :param kinds: their segment numbers.
    :param offsets: where each sequence begins, and the end; row r has ``sides`` of them, from number r · ``sides`` on.
    :param sides: sequences a row: 1, or 2 for pairs of texts encoded apart.
    :param cut: how many rows were longer than allowed, and were cut.
    """

    ids: NDArray[np.int32]
    kinds: NDArray[np.int8]
    offsets: NDArray[np.int64]
    sides: int
    cut: int

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.sides

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of tokens of each row."""
        return np.diff(self.offsets).reshape(-1, self.sides).sum(axis=1)

    def sequences(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of some rows' sequences: all their first ones, then all second ones."""
        return np.concatenate([rows * self.sides + side for side in range(self.sides)])

    def take(self, rows: NDArray[np.int64], vectors: torch.Tensor | None = None) -> Sequences:
        """Return some rows, in the order of :meth:`sequences`.

        :param vectors: what a frozen encoder makes of their sequences.
        """
        numbers = self.sequences(rows)
        starts = self.offsets[numbers]
        lengths = self.offsets[numbers + 1] - starts
        places = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        ids, kinds = self.ids[places].astype(np.int64), self.kinds[places].astype(np.int64)
        return Sequences(ids, kinds, lengths, len(rows), vectors)


@dataclass(frozen=True)
class _Encoded:
    """One sequence: token numbers, segment numbers, and whether it was cut."""

    ids: Sequence[int]
    kinds: Sequence[int]
    cut: bool


class Tokenizer:
    """The encoder's own tokenizer; pairs in one sequence with ``[SEP]``, or each text in a sequence of its own.

    :param max_length: tokens after which sequences are cut, or the encoder's last position if that comes first.
    """

    def __init__(self, encoder: Encoder, files: EncoderFiles, max_length: int) -> None:
        self._files, self._apart = files, encoder.pairs == "apart"
        self.max_length = min(max_length, files.longest)

    def tokens(self, texts: Texts) -> Tokens:
        """Return the tokens of rows from the cache, or tokenise and keep them there, where that is possible."""
        folder = cache_folder()
        if folder is None:
            return self.encode(texts)
        entry = folder / "tokens" / self._key(texts)
        found = load(entry)
        if found is None:
            found = self.encode(texts)
            save(found, entry)
        return found

    def encode(self, texts: Texts) -> Tokens:
        """Tokenise rows, the longer text of a pair cut first where both exceed the maximal length together.

        :raises UsageError: when there is no tokenizer, or a text has a token that the encoder has no vector for.
        """
        sides = len(texts[0]) if self._apart and texts else 1
        ids, kinds = [np.zeros(0, np.int32)], [np.zeros(0, np.int8)]
        lengths, cut = [np.zeros(1, np.int64)], 0
        for first in range(0, len(texts), CHUNK):
            encoded = self._encoded(texts[first : first + CHUNK])
            ids += [np.asarray(one.ids, np.int32) for one in encoded]
            kinds += [np.asarray(one.kinds, np.int8) for one in encoded]
            lengths.append(np.array([len(one.ids) for one in encoded]))
            cut += int(np.array([one.cut for one in encoded]).reshape(-1, sides).any(axis=1).sum())
        flat = np.concatenate(kinds)
        if "token_type_ids" not in self.of_model.model_input_names:
            flat = np.zeros_like(flat)
        tokens = Tokens(np.concatenate(ids), flat, np.cumsum(np.concatenate(lengths)), sides, cut)
        self._check(tokens, texts)
        return tokens

    def _check(self, tokens: Tokens, texts: Texts) -> None:
        largest = int(tokens.ids.max(initial=0))
        if largest >= self._files.words:
            raise UsageError(
                f"a text has the token {self.of_model.convert_ids_to_tokens(largest)!r}, number {largest}, and "
                f"{self._files.title} has vectors for {self._files.words} tokens only: resize its embeddings "
                "(resize_token_embeddings), or take the token out of its tokenizer"
            )
        empty = np.flatnonzero(np.diff(tokens.offsets) == 0)
        if len(empty):
            row = texts[empty[0] // tokens.sides]
            raise UsageError(
                f"the tokenizer of {self._files.title} makes no token of the text {shown(row)}: leave it out"
            )

    def _encoded(self, texts: Texts) -> list[_Encoded]:
        """Return the tokens of some rows' sequences, those of a row together."""
        first: list[str] = [text for row in texts for text in row] if self._apart else [row[0] for row in texts]
        second = None if self._apart or len(texts[0]) == 1 else [row[1] for row in texts]
        limit = {"truncation": "longest_first", "max_length": self.max_length}
        if self.of_model.is_fast:
            fast = self.of_model(first, second, **limit).encodings
            return [_Encoded(one.ids, one.type_ids, bool(one.overflowing)) for one in fast]
        whole = self.of_model(first, second)["input_ids"]  # a tokenizer in Python does not say what it cuts
        short = self.of_model(first, second, return_token_type_ids=True, **limit)
        rows = zip(short["input_ids"], short["token_type_ids"], whole, strict=True)
        return [_Encoded(ids, kinds, len(ids) < len(all_ids)) for ids, kinds, all_ids in rows]

    @cached_property
    def of_model(self) -> Any:
        """The tokenizer that the model's folder holds, an object of transformers.

        :raises UsageError: when the folder holds none, or one that cannot be read.
        """
        from transformers import AutoTokenizer

        folder = self._files.folder
        if not tokenizer_files(folder):
            raise UsageError(
                f"there is no tokenizer in {folder}: copy the model's own to it (tokenizer.json, or its vocabulary)"
            )
        try:
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # it fails in many ways, each with its own class
            raise UsageError(f"cannot read the tokenizer in {folder}: {one_line(str(error), 200)}") from None

    def _key(self, texts: Texts) -> str:
        """SHA-256 of all that decides the tokens."""
        libraries = [version("transformers"), version("tokenizers")]
        decides = [FORMAT, libraries, self._files.fingerprint, self.max_length, self._apart]
        digest = hashlib.sha256(json.dumps(decides).encode())
        for row in texts:
            digest.update(repr(row).encode())  # escapes what is no text, and cannot take two rows for one
        return digest.hexdigest()


def cache_folder() -> Path | None:
    """Return the folder of mtlbench's caches; ``None`` where there is to be none, or no place for one."""
    given = os.environ.get("MTLBENCH_CACHE")
    if given is not None:
        return Path(given).expanduser() if given else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    usual = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(named) if named else usual.get(sys.platform, home / ".cache")) / "mtlbench"


def load(entry: Path) -> Tokens | None:
    """Return an entry of the cache, its arrays mapped from their files; ``None`` if it is missing or damaged."""
    try:
        about = json.loads((entry / "about.json").read_text(encoding="utf-8"))
        if any(_checksum(entry / f"{name}.npy") != about["checksums"][name] for name in _NAMES):
            return None
        ids, kinds, offsets = (
            np.asarray(np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in _NAMES
        )
        return Tokens(ids, kinds, offsets, int(about["sides"]), int(about["cut"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(tokens: Tokens, entry: Path) -> None:
    """Write an entry of the cache, whole or not at all. A cache that cannot be written is none: no error."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        ours = Path(tempfile.mkdtemp(prefix=".", dir=entry.parent))
    except OSError:
        return
    try:
        for name in _NAMES:
            np.save(ours / f"{name}.npy", getattr(tokens, name), allow_pickle=False)
        checksums = {name: _checksum(ours / f"{name}.npy") for name in _NAMES}
        about = {"sides": tokens.sides, "cut": tokens.cut, "checksums": checksums}
        (ours / "about.json").write_text(json.dumps(about), encoding="utf-8")
        if entry.exists() and load(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)
        ours.replace(entry)
    except OSError:  # no room, or another process was first: a folder does not replace one that holds files
        pass
    finally:
        shutil.rmtree(ours, ignore_errors=True)


def _checksum(file: Path) -> int:
    """CRC-32 of a file, read in pieces: mapped pages would count as this process's memory."""
    total = 0
    with file.open("rb") as handle:
        while piece := handle.read(1 << 20):
            total = zlib.crc32(piece, total)
    return total
