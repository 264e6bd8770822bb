"""Trial of a model before a grid begins: its tokenizer and a few forward passes show what its files do not.

The result is cached beside the tokens, so only the first plan with a model takes these few seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtlbench import seeds
from mtlbench.errors import UsageError, one_line
from mtlbench.host.disk import write_whole
from mtlbench.host.provenance import version
from mtlbench.recipe.suite import Recipe
from mtlbench.text.adapters import check_installed
from mtlbench.text.encoder import MINILM, Encoder, EncoderFiles
from mtlbench.text.model_config import INSTEAD

if TYPE_CHECKING:
    import torch

    from mtlbench.engine.packed.pack import Pack
    from mtlbench.text.model import MultiTaskModel

FORMAT = 2
"""Version of the trial; increment it with every change, so that models are tried again."""
SAMPLE = ("The dog runs slowly.", "A cat sleeps in the red house.")
SHORT, LONGER = 6, 4
"""Tokens of a short text, and the number of additional tokens in a longer one, beside which the short is padded."""
MARKS, MOST_WORDS = 5, 30_000
"""Lowest token number in texts of random tokens, and one more than the highest."""
TOLERANCE = 1e-4
"""Difference between vectors that counts as rounding, relative to their largest element."""


@dataclass(frozen=True)
class Traits:
    """Results of a trial.

    :param unpacked: the reason why the model cannot read packs, or ``None`` if it can.
    :param recomputes: whether its layers are known to transformers, so that they can be recomputed to save memory.
    """

    unpacked: str | None = None
    recomputes: bool = True


def check_recipe(recipe: Recipe, traits: Traits) -> None:
    """Check that the model supports the recipe's way of computing.

    :param traits: what a trial showed of the model.
    :raises UsageError: when every cell would fail.
    """
    if recipe.engine in ("packed", "lean") and traits.unpacked is not None:
        raise UsageError(f"engine={recipe.engine} is not possible: {traits.unpacked}; use engine=auto or loop")
    if recipe.accumulate > 1 and (recipe.engine == "loop" or traits.unpacked is not None):
        raise UsageError(f"accumulate needs the packed engine, not the loop ({traits.unpacked or 'asked for'})")
    if recipe.checkpointing and not traits.recomputes:
        raise UsageError("checkpointing is not possible: transformers knows no layers of this encoder to recompute")


def try_model(encoder: Encoder, files: EncoderFiles, max_length: int, *, pairs: bool) -> Traits:
    """Try a model as cells will use it, or return the cached result of an earlier trial.

    :param encoder: which encoder, and how it turns texts into vectors.
    :param files: its files.
    :param max_length: length in tokens to which texts are truncated.
    :param pairs: whether there are rows of two texts.
    :raises UsageError: when the model cannot be loaded or cannot encode texts of the maximal length; when a text's
        vector does not depend on the whole text, or depends on other texts in the batch; or when the tokenizer does
        not fit the model.
    """
    encoder = encoder.settled(files)
    if encoder.adapter is not None:
        check_installed()
    elif encoder.origin == MINILM:  # a known model, whose weights are checked against their hash
        return Traits()
    from mtlbench.text.tokens import cache_folder

    folder = cache_folder()
    entry = None if folder is None else folder / "models" / f"{_key(encoder, files, max_length, pairs)}.json"
    traits = None if entry is None else _load(entry)
    if traits is None:
        traits = _try(encoder, files, max_length, pairs)
        if entry is not None:
            with contextlib.suppress(OSError):  # the cache is optional
                entry.parent.mkdir(parents=True, exist_ok=True)
                write_whole(entry, json.dumps(asdict(traits)).encode())
    return traits


def _key(encoder: Encoder, files: EncoderFiles, max_length: int, pairs: bool) -> str:
    libraries = ("mtlbench", "transformers", "tokenizers", "torch", *encoder.libraries)
    versions = [version(name) for name in libraries]
    settings = {name: value for name, value in encoder.parameters.items() if name != "origin"}
    inputs = [FORMAT, versions, files.fingerprint, settings, max_length, pairs]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _load(entry: Path) -> Traits | None:
    try:
        return Traits(**json.loads(entry.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _try(encoder: Encoder, files: EncoderFiles, max_length: int, pairs: bool) -> Traits:
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
    except Exception as error:  # transformers raises exceptions of many classes
        raise _not_loaded(encoder, error) from None
    if model.unpacked is not None:  # families that read packs need no check
        _check_states(encoder, files, model)
    _check_longest(encoder, files, model, tokenizer.max_length)
    return Traits(model.unpacked, bool(recomputed_layers(model.encoder)))


def _not_loaded(encoder: Encoder, error: Exception) -> UsageError:
    if "trust_remote_code" in str(error):
        return UsageError(
            f"model {encoder.origin} brings its own code, which mtlbench does not run: use a model that transformers "
            "implements"
        )
    return UsageError(f"cannot load model {encoder.origin}: {type(error).__name__}: {one_line(str(error), 200)}")


def _check_tokenizer(encoder: Encoder, files: EncoderFiles, tokenizer: Any, *, pairs: bool) -> None:
    """Check the special tokens that a tokenizer adds to texts, and its token numbers."""
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in SAMPLE)
    if not first or not second:
        raise UsageError(f"the tokenizer in {files.folder} makes no tokens of {SAMPLE[0]!r}: its vocabulary is missing")
    if encoder.pooling == "cls" and tokenizer(SAMPLE[0])["input_ids"][: len(first)] == first:
        raise UsageError(
            f"the tokenizer of {encoder.origin} puts no [CLS] token before a text, so pooling=cls would take the first "
            f"word alone: write {_with(encoder, pooling='last')} for a causal model, else "
            f"{_with(encoder, pooling='mean')}"
        )
    if pairs and encoder.pairs == "cross":
        both = tokenizer(*SAMPLE)["input_ids"]
        start = next(index for index in range(len(both)) if both[index : index + len(first)] == first)
        rest = both[start + len(first) :]
        if rest[: len(second)] == second:
            raise UsageError(
                f"the tokenizer of {encoder.origin} puts no separator between two texts, so pairs=cross would join "
                f"them without a mark: write {_with(encoder, pairs='apart')}"
            )
    unused = {tokenizer.pad_token, tokenizer.mask_token}  # texts do not contain them
    without_vector = {
        number: token
        for token, number in tokenizer.get_vocab().items()
        if number >= files.words and token not in unused
    }
    if without_vector:
        number = min(without_vector)
        raise UsageError(
            f"the tokenizer of {encoder.origin} has the token {without_vector[number]!r}, number {number}, and the "
            f"model has vectors for {files.words} tokens only: resize its embeddings (resize_token_embeddings) and "
            "save it again, or remove the token from the tokenizer's files"
        )


def _with(encoder: Encoder, **settings: str) -> str:
    """Return the spec of an encoder with some settings replaced."""
    return type(encoder).make({**encoder.parameters, **settings}).spec


def _check_states(encoder: Encoder, files: EncoderFiles, model: MultiTaskModel) -> None:
    """Encode short texts of random tokens, and check what the states of their tokens depend on."""
    ids, width = _random_ids(files, SHORT + LONGER), int(model.encoder.config.hidden_size)
    short, other = ids[:SHORT], ids[SHORT]
    name = f"model {encoder.origin} ({model.encoder.config.model_type})"
    try:
        states = _states(model, [short])
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(str(error), 160)}"
        if encoder.adapter is not None:
            raise UsageError(f"{name} does not run with adapters ({reason}): give other targets, or none") from None
        raise UsageError(f"{name} is not an encoder that reads token numbers alone ({reason}): {INSTEAD}") from None
    if states.shape[1] != width:
        raise UsageError(f"{name} gives {states.shape[1]} numbers per token, not its width, {width}: {INSTEAD}")
    if _same(states[1:], _states(model, [[other, *short[1:]]])[1:]):
        raise UsageError(f"the tokens of {name} do not see one another on this machine's CPU: {INSTEAD}")
    if encoder.pooling == "cls" and _same(states[0], _states(model, [[*short[:-1], other]])[0]):
        raise UsageError(
            f"the first token of {name} does not see the rest of its text, as in causal models, so pooling=cls would "
            f"take one word alone: write {_with(encoder, pooling='last')}"
        )
    if encoder.pooling == "last" and _same(states[-1], _states(model, [[other, *short[1:]]])[-1]):
        raise UsageError(
            f"the last token of {name} does not see the rest of its text, so pooling=last would take one word alone: "
            f"write {_with(encoder, pooling='mean')}"
        )
    difference = float((_states(model, [short, ids])[:SHORT] - states).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(states.abs().max())):
        raise UsageError(
            f"{name} reads the padding behind a text, so its vector would depend on the texts beside it: {INSTEAD}"
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
    """Return token numbers, neighbours different, without the lowest: those are padding and other special tokens."""
    ordinary = np.arange(min(files.words, MOST_WORDS))[MARKS:]
    if len(ordinary) < 2:
        raise UsageError(f"{files.title} has vectors for {files.words} tokens only: too few for texts")
    order = seeds.generator("trial").permutation(ordinary)
    return [int(number) for number in np.resize(order, count)]


def _pack(texts: Sequence[Sequence[int]]) -> Pack:
    from mtlbench.engine.packed.pack import Pack, Sequences

    lengths = np.array([len(text) for text in texts])
    ids = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
    return Pack.of([Sequences(ids, np.zeros_like(ids), lengths)], "cpu")


def _states(model: MultiTaskModel, texts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the states of all tokens of the texts, which are lists of token numbers, one text after another."""
    import torch

    with torch.inference_mode():
        return model.padded(_pack(texts))
