"""A model tried once before a grid begins: what its files do not say, its tokenizer and a few forwards show.

What was found is kept beside the cache of tokens, so that only the first plan with a model pays for it: a few seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtlbench import seeds
from mtlbench.errors import UsageError, one_line
from mtlbench.host.disk import write_whole
from mtlbench.text.encoder import MINILM, Encoder, EncoderFiles
from mtlbench.text.model_config import INSTEAD

if TYPE_CHECKING:
    import torch

    from mtlbench.engine.packed.pack import Pack
    from mtlbench.text.model import MultiTaskModel

FORMAT = 1
"""Raised by one whenever the trial changes: models are then tried again."""
SAMPLE = ("The dog runs slowly.", "A cat sleeps in the red house.")
SHORT, LONGER = 6, 4
"""Tokens of a short text, and how many more a text has beside which it is padded."""
MARKS, MOST_WORDS = 5, 30_000
"""The least token number that a text of random tokens has, and the number of different ones."""
TOLERANCE = 1e-4
"""Differences between vectors, relative to their largest number, that rounding may make."""


@dataclass(frozen=True)
class Traits:
    """What a trial shows of a model.

    :param unpacked: why it cannot read packs, or ``None`` if it can.
    :param recomputes: whether transformers knows its layers, so that they can be computed again.
    """

    unpacked: str | None = None
    recomputes: bool = True


def try_model(encoder: Encoder, files: EncoderFiles, max_length: int, *, pairs: bool) -> Traits:
    """Try a model as cells will use it, or read what came of it before.

    :param max_length: tokens after which texts are cut.
    :param pairs: whether there are rows of two texts.
    :raises UsageError: when it cannot be loaded or cannot encode texts up to the maximal length; when a text's vector
        would not tell the text, or would depend on the texts beside it; or when the tokenizer does not fit it.
    """
    if encoder.origin == MINILM:  # known, and its weights are checked
        return Traits()
    from mtlbench.text.tokens import cache_folder

    folder = cache_folder()
    entry = None if folder is None else folder / "models" / f"{_key(encoder, files, max_length, pairs)}.json"
    traits = None if entry is None else _kept(entry)
    if traits is None:
        traits = _tried(encoder, files, max_length, pairs)
        if entry is not None:
            with contextlib.suppress(OSError):  # a cache that cannot be written is none
                entry.parent.mkdir(parents=True, exist_ok=True)
                write_whole(entry, json.dumps(asdict(traits)).encode())
    return traits


def _key(encoder: Encoder, files: EncoderFiles, max_length: int, pairs: bool) -> str:
    versions = [version(name) for name in ("mtlbench", "transformers", "tokenizers", "torch")]
    settings = {name: value for name, value in encoder.parameters.items() if name != "origin"}
    decides = [FORMAT, versions, files.fingerprint, settings, max_length, pairs]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _kept(entry: Path) -> Traits | None:
    try:
        return Traits(**json.loads(entry.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _tried(encoder: Encoder, files: EncoderFiles, max_length: int, pairs: bool) -> Traits:
    from mtlbench.engine.packed.layers import recomputed_layers
    from mtlbench.text.model import MultiTaskModel
    from mtlbench.text.tokens import Tokenizer

    tokenizer = Tokenizer(encoder, files, max_length)
    if tokenizer.max_length < SHORT + LONGER:
        raise UsageError(f"model {encoder.origin} has positions for {files.longest} tokens only: too few for texts")
    _check_tokenizer(encoder, files, tokenizer.of_model, pairs=pairs)
    try:
        model = MultiTaskModel(encoder, files, [], 0).eval()
    except UsageError:
        raise
    except Exception as error:  # transformers fails in many ways, each with its own class
        raise _not_loaded(encoder, error) from None
    if model.unpacked is not None:  # families that read packs are known
        _check_states(encoder, files, model)
    _check_longest(encoder, files, model, tokenizer.max_length)
    return Traits(model.unpacked, bool(recomputed_layers(model.encoder)))


def _not_loaded(encoder: Encoder, error: Exception) -> UsageError:
    if "trust_remote_code" in str(error):
        return UsageError(
            f"model {encoder.origin} brings its own code, which mtlbench does not run: take a model that transformers "
            "has the code of"
        )
    return UsageError(f"cannot load model {encoder.origin}: {type(error).__name__}: {one_line(str(error), 200)}")


def _check_tokenizer(encoder: Encoder, files: EncoderFiles, tokenizer: Any, *, pairs: bool) -> None:
    """Look at the marks that a tokenizer puts around texts, and at its token numbers."""
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in SAMPLE)
    if not first or not second:
        raise UsageError(f"the tokenizer in {files.folder} makes no tokens of {SAMPLE[0]!r}: its vocabulary is missing")
    if encoder.pooling == "cls" and tokenizer(SAMPLE[0])["input_ids"][: len(first)] == first:
        raise UsageError(
            f"the tokenizer of {encoder.origin} puts no [CLS] token before a text, so pooling=cls would take the first "
            f"word alone: write {_with(encoder, pooling='mean')}"
        )
    if pairs and encoder.pairs == "cross":
        both = tokenizer(*SAMPLE)["input_ids"]
        begin = next(place for place in range(len(both)) if both[place : place + len(first)] == first)
        after = both[begin + len(first) :]
        if after[: len(second)] == second:
            raise UsageError(
                f"the tokenizer of {encoder.origin} puts no separator between two texts, so pairs=cross would join "
                f"them without a mark: write {_with(encoder, pairs='apart')}"
            )
    unread = {tokenizer.pad_token, tokenizer.mask_token}  # texts do not have them
    beyond = {
        number: token
        for token, number in tokenizer.get_vocab().items()
        if number >= files.words and token not in unread
    }
    if beyond:
        number = min(beyond)
        raise UsageError(
            f"the tokenizer of {encoder.origin} has the token {beyond[number]!r}, number {number}, and the model has "
            f"vectors for {files.words} tokens only: resize its embeddings (resize_token_embeddings) and save it "
            "again, or take the token out of the tokenizer's files"
        )


def _with(encoder: Encoder, **settings: str) -> str:
    """Return the spec of an encoder with other settings, as a user writes it."""
    return type(encoder).make({**encoder.parameters, **settings}).spec


def _check_states(encoder: Encoder, files: EncoderFiles, model: MultiTaskModel) -> None:
    """Encode short texts of random tokens, and look at what the states of their tokens depend on."""
    ids, width = _random_ids(files, SHORT + LONGER), int(model.encoder.config.hidden_size)
    short, other = ids[:SHORT], ids[SHORT]
    about = f"model {encoder.origin} ({model.encoder.config.model_type})"
    try:
        states = _states(model, [short])
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(str(error), 160)}"
        raise UsageError(f"{about} is not an encoder that reads token numbers alone ({reason}): {INSTEAD}") from None
    if states.shape[1] != width:
        raise UsageError(f"{about} gives {states.shape[1]} numbers a token, not its width, {width}: {INSTEAD}")
    if _same(states[1:], _states(model, [[other, *short[1:]]])[1:]):
        raise UsageError(f"the tokens of {about} do not see one another on this machine's CPU: {INSTEAD}")
    if encoder.pooling == "cls" and _same(states[0], _states(model, [[*short[:-1], other]])[0]):
        raise UsageError(
            f"the first token of {about} does not see the rest of its text, as in causal models, so pooling=cls would "
            f"take one word alone: write {_with(encoder, pooling='mean')}"
        )
    difference = float((_states(model, [short, ids])[:SHORT] - states).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(states.abs().max())):
        raise UsageError(
            f"{about} reads the padding behind a text, so its vector would depend on the texts beside it: {INSTEAD}"
        )


def _check_longest(encoder: Encoder, files: EncoderFiles, model: MultiTaskModel, longest: int) -> None:
    import torch

    try:
        with torch.inference_mode():
            ids = _random_ids(files, longest)
            model.pooled(_pack([ids, ids[:SHORT]]))
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(str(error), 120)}"
        raise UsageError(
            f"model {encoder.origin} cannot encode a text of {longest} tokens ({reason}): give a smaller max_length"
        ) from None


def _same(states: torch.Tensor, others: torch.Tensor) -> bool:
    return bool((states == others).all())


def _random_ids(files: EncoderFiles, count: int) -> list[int]:
    """Return token numbers, neighbours different, without the lowest: they are padding and other marks."""
    usual = np.arange(min(files.words, MOST_WORDS))[MARKS:]
    if len(usual) < 2:
        raise UsageError(f"{files.title} has vectors for {files.words} tokens only: too few for texts")
    order = seeds.generator("trial").permutation(usual)
    return [int(number) for number in np.resize(order, count)]


def _pack(texts: Sequence[Sequence[int]]) -> Pack:
    from mtlbench.engine.packed.pack import Pack, Sequences

    lengths = np.array([len(text) for text in texts])
    ids = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
    return Pack.of([Sequences(ids, np.zeros_like(ids), lengths)], "cpu")


def _states(model: MultiTaskModel, texts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the states of all tokens of some texts, given as token numbers, one text after another."""
    import torch

    with torch.inference_mode():
        return model.padded(_pack(texts))
