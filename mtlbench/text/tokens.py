"""Tokenised rows as flat arrays, cached on disk for later cells.

The cache folder is ``MTLBENCH_CACHE`` (empty: no cache), else the platform's cache folder; it may be deleted at any
time. Entries are named by a hash of everything that the tokens depend on, so they never go out of date.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.engine.packed.pack import Sequences
from mtlbench.errors import UsageError, one_line, shown
from mtlbench.host.provenance import version
from mtlbench.text.encoder import Encoder, EncoderFiles
from mtlbench.text.model_files import tokenizer_files

FORMAT = 1
"""Version of the cache's file format; increment it with every change."""
CHUNK = 2048
"""Rows tokenised in one call: the tokenizer's own objects take a hundred times the memory of the tokens."""

_NAMES = ("ids", "kinds", "offsets")
Texts = Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Tokens:
    """Tokenised rows, flat.

    :param ids: token numbers of all sequences, concatenated.
    :param kinds: their segment numbers.
    :param offsets: start of each sequence in ``ids``, then the end of the last. The sequences of row r are
        r · ``sides`` to (r + 1) · ``sides`` − 1.
    :param sides: sequences per row: 1, or 2 for pairs of texts encoded apart.
    :param cut: number of rows that were truncated to the maximal length.
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
        """Return the sequence numbers of the given rows: all first sequences, then all second ones."""
        return np.concatenate([rows * self.sides + side for side in range(self.sides)])

    def take(self, rows: NDArray[np.int64], vectors: torch.Tensor | None = None) -> Sequences:
        """Return the sequences of the given rows, in the order of :meth:`sequences`.

        :param rows: row numbers.
        :param vectors: (S, width) vectors of these sequences, where the encoder is frozen.
        """
        numbers = self.sequences(rows)
        starts = self.offsets[numbers]
        lengths = self.offsets[numbers + 1] - starts
        indices = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        ids, kinds = self.ids[indices].astype(np.int64), self.kinds[indices].astype(np.int64)
        return Sequences(ids, kinds, lengths, len(rows), vectors)


@dataclass(frozen=True)
class _Encoded:
    """One sequence: token numbers, segment numbers, and whether it was truncated."""

    ids: Sequence[int]
    kinds: Sequence[int]
    cut: bool


class Tokenizer:
    """The encoder's own tokenizer. Pairs become one sequence with ``[SEP]``, or one sequence per text.

    :param encoder: decides how pairs are encoded.
    :param files: the encoder's files, among them the tokenizer's.
    :param max_length: longest sequence in tokens; capped at the number of the encoder's positions.
    """

    def __init__(self, encoder: Encoder, files: EncoderFiles, max_length: int) -> None:
        self._files, self._apart = files, encoder.pairs == "apart"
        self.max_length = min(max_length, files.longest)

    def tokens(self, texts: Texts) -> Tokens:
        """Return the tokens of rows, from the cache if possible; else tokenise them and add them to the cache.

        :raises UsageError: as :meth:`encode`.
        """
        folder = cache_folder()
        if folder is None:
            return self.encode(texts)
        entry = folder / "tokens" / self._key(texts)
        tokens = load(entry)
        if tokens is None:
            tokens = self.encode(texts)
            save(tokens, entry)
        return tokens

    def encode(self, texts: Texts) -> Tokens:
        """Tokenise rows. A pair that exceeds the maximal length loses tokens of its longer text first.

        :raises UsageError: when there is no tokenizer, a text has a token that the encoder has no vector for, or a
            text has no tokens.
        """
        sides = len(texts[0]) if self._apart and texts else 1
        ids, kinds = [np.zeros(0, np.int32)], [np.zeros(0, np.int8)]
        lengths, cut = [np.zeros(1, np.int64)], 0
        for first in range(0, len(texts), CHUNK):
            encoded = self._encoded(texts[first : first + CHUNK])
            ids += [np.asarray(sequence.ids, np.int32) for sequence in encoded]
            kinds += [np.asarray(sequence.kinds, np.int8) for sequence in encoded]
            lengths.append(np.array([len(sequence.ids) for sequence in encoded]))
            cut += int(np.array([sequence.cut for sequence in encoded]).reshape(-1, sides).any(axis=1).sum())
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
                "(resize_token_embeddings), or remove the token from its tokenizer"
            )
        empty = np.flatnonzero(np.diff(tokens.offsets) == 0)
        if len(empty):
            row = texts[empty[0] // tokens.sides]
            raise UsageError(
                f"the tokenizer of {self._files.title} gives no tokens for the text {shown(row)}: leave it out"
            )

    def _encoded(self, texts: Texts) -> list[_Encoded]:
        """Return the encoded sequences of rows, in row order."""
        first: list[str] = [text for row in texts for text in row] if self._apart else [row[0] for row in texts]
        second = None if self._apart or len(texts[0]) == 1 else [row[1] for row in texts]
        limit = {"truncation": "longest_first", "max_length": self.max_length}
        if self.of_model.is_fast:
            encodings = self.of_model(first, second, **limit).encodings
            return [_Encoded(encoding.ids, encoding.type_ids, bool(encoding.overflowing)) for encoding in encodings]
        full = self.of_model(first, second)["input_ids"]  # slow tokenizers do not report what they truncate
        truncated = self.of_model(first, second, return_token_type_ids=True, **limit)
        rows = zip(truncated["input_ids"], truncated["token_type_ids"], full, strict=True)
        return [_Encoded(ids, kinds, len(ids) < len(full_ids)) for ids, kinds, full_ids in rows]

    @cached_property
    def of_model(self) -> Any:
        """The tokenizer in the model's folder, as a transformers object.

        :raises UsageError: when the folder has no tokenizer, or one that cannot be read.
        """
        from transformers import AutoTokenizer

        folder = self._files.folder
        if not tokenizer_files(folder):
            raise UsageError(
                f"there is no tokenizer in {folder}: copy the model's own to it (tokenizer.json, or its vocabulary)"
            )
        try:
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # transformers raises exceptions of many classes
            raise UsageError(f"cannot read the tokenizer in {folder}: {one_line(str(error), 200)}") from None

    def _key(self, texts: Texts) -> str:
        """Return the SHA-256 of everything that the tokens depend on."""
        libraries = [version("transformers"), version("tokenizers")]
        settings = [FORMAT, libraries, self._files.fingerprint, self.max_length, self._apart]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for row in texts:
            digest.update(repr(row).encode())  # repr escapes lone surrogates, and marks where a row ends
        return digest.hexdigest()


def cache_folder() -> Path | None:
    """Return mtlbench's cache folder; ``None`` where the user wants no cache, or there is no home folder."""
    setting = os.environ.get("MTLBENCH_CACHE")
    if setting is not None:
        return Path(setting).expanduser() if setting else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    defaults = {"darwin": home / "Library" / "Caches", "win32": home / "AppData" / "Local"}
    configured = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(configured) if configured else defaults.get(sys.platform, home / ".cache")) / "mtlbench"


def load(entry: Path) -> Tokens | None:
    """Return a cache entry, with memory-mapped arrays; ``None`` if it is missing or damaged."""
    try:
        metadata = json.loads((entry / "about.json").read_text(encoding="utf-8"))
        if any(_checksum(entry / f"{name}.npy") != metadata["checksums"][name] for name in _NAMES):
            return None
        ids, kinds, offsets = (
            np.asarray(np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in _NAMES
        )
        return Tokens(ids, kinds, offsets, int(metadata["sides"]), int(metadata["cut"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(tokens: Tokens, entry: Path) -> None:
    """Write a cache entry atomically. A cache that cannot be written is skipped without an error.

    :param tokens: what to write.
    :param entry: the entry's folder.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", dir=entry.parent))
    except OSError:
        return
    try:
        for name in _NAMES:
            np.save(temporary / f"{name}.npy", getattr(tokens, name), allow_pickle=False)
        checksums = {name: _checksum(temporary / f"{name}.npy") for name in _NAMES}
        metadata = {"sides": tokens.sides, "cut": tokens.cut, "checksums": checksums}
        (temporary / "about.json").write_text(json.dumps(metadata), encoding="utf-8")
        if entry.exists() and load(entry) is None:
            shutil.rmtree(entry, ignore_errors=True)
        temporary.replace(entry)
    except OSError:  # the disk is full, or another process was first: a folder cannot replace a non-empty one
        pass
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _checksum(file: Path) -> int:
    """Return the CRC-32 of a file, read in blocks: mapped pages would count as this process's memory."""
    checksum = 0
    with file.open("rb") as handle:
        while block := handle.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
