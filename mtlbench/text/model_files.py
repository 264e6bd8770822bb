"""The files of an encoder: weights, tokenizer, and their hash. Does not import torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mtlbench.errors import UsageError, shown

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json")
"""The usual files of a tokenizer, in the order in which they are hashed."""
FURTHER_TOKENIZER_FILES = (
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "sentencepiece.model",
    "bpe.codes",
    "dict.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
"""Other files of a tokenizer; hashed only where none of the files in :data:`WHOLE` is there."""
WHOLE = ("tokenizer.json", "vocab.txt", "vocab.json")
"""Files that hold a vocabulary; each is sufficient without :data:`FURTHER_TOKENIZER_FILES`."""
FOREIGN = {
    "*.gguf": "GGUF",
    "*.onnx": "ONNX",
    "onnx/*.onnx": "ONNX",
    "*.h5": "TensorFlow",
    "*.msgpack": "Flax",
    "*.ckpt*": "a checkpoint of TensorFlow or Lightning",
    "*.pth": "a pickle of PyTorch",
    "*.pt": "a pickle of PyTorch",
}
"""Pattern of weight files that are not read → their format."""
CONVERT = (
    "convert them: AutoModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER) of a transformers that reads them "
    "writes model.safetensors"
)


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files in a folder; an empty list where there are none.

    :raises UsageError: when a file is damaged or missing, or the weights have a format that is not read.
    """
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).is_file():
        files = _shards(folder / INDEX)
    else:
        _refuse_foreign(folder)
        return []
    for file in files:
        _check_safetensors(file)
    return files


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the tokenizer files in a folder, in the order in which they are hashed."""
    files = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if any(file.name in WHOLE for file in files):
        return files  # the hash stays the same as before FURTHER_TOKENIZER_FILES counted, so old cells stay done
    return files + [folder / name for name in FURTHER_TOKENIZER_FILES if (folder / name).is_file()]


@cache
def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, which is read once per process."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(files: Sequence[Path]) -> str:
    """Return the SHA-256 over the names and contents of files."""
    lines = "".join(f"{path.name} {file_sha256(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _shards(index: Path) -> list[Path]:
    """Return the files that an index names, in order.

    :raises UsageError: when the file is not an index, or names a file that is not in its folder.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UsageError(f"{index} has no weight_map: copy or download it again") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise UsageError(f"{index} names {shown(name)}, which is not a file beside it")
        if not (index.parent / name).is_file():
            raise UsageError(f"{index} names {name}, which is missing: copy or download all of its files")
    return [index.parent / name for name in names]


def _check_safetensors(file: Path) -> None:
    """Check that a file's size matches its header.

    :raises UsageError: when the file is truncated, or not a safetensors file.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        start = handle.read(8)
        length = int.from_bytes(start, "little")
        if start[:7] == b"version":
            raise UsageError(f"{file} is a pointer of Git LFS, not the weights: fetch them with git lfs pull")
        try:
            if len(start) < 8 or not 2 <= length <= size - 8:
                raise ValueError
            header = json.loads(handle.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise UsageError(f"{file} is not a whole safetensors file: copy or download it again") from None
    if size != 8 + length + end:
        raise UsageError(f"{file} is truncated: {size} bytes of {8 + length + end}; copy or download it again")


def _refuse_foreign(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"{folder} holds an adapter, not a whole model: merge it into its model (merge_and_unload() of PEFT) and "
            "save that"
        )
    pickles = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("pytorch_model.bin.index.json")])
    if pickles:
        raise UsageError(
            f"{folder} has its weights in {pickles[0].name}, a pickle, which may run code when it is read; {CONVERT}"
        )
    for pattern, form in FOREIGN.items():
        file = next(iter(sorted(folder.glob(pattern))), None)
        if file is not None:
            where = file.relative_to(folder)
            raise UsageError(f"{folder} has its weights in {where} ({form}), which is not read; {CONVERT}")
    other = sorted(folder.glob("*.safetensors"))
    if other:
        raise UsageError(
            f"{folder} has {other[0].name} and neither {WEIGHTS} nor {INDEX}: rename the file, or save the model again"
        )
