"""The embedded tasks: their rows, and the effect of their two parameters on the gradients of a real encoder."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mtlbench.contract.task import Splits
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry
from mtlbench.text import grammar
from mtlbench.text.floors import token_overlap
from mtlbench.text.grammar import IRONIC, LEXICON, GrammarTask

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mtlbench.contract.observation import Matrix
    from mtlbench.engine.packed.pack import Pack
    from mtlbench.text.model import MultiTaskModel

NAMES = ("sentiment", "paraphrase", "similarity")
CONFLICTS = (0.0, 0.5, 1.0)


def task(name: str, **parameters: float) -> GrammarTask:
    made = load_registry().task(
        name + "[" + ",".join(f"{key}={value}" for key, value in parameters.items()) + "]" if parameters else name
    )
    assert isinstance(made, GrammarTask)
    return made


def rows(name: str, **parameters: float) -> Splits:
    return task(name, **parameters).load(None)


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_are_the_same_in_every_process(name: str) -> None:
    first = rows(name).fingerprint
    grammar.opinions.cache_clear()
    assert rows(name).fingerprint == first
    assert len({rows(name, conflict=conflict).fingerprint for conflict in CONFLICTS}) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("conflict", CONFLICTS)
def test_no_row_is_in_both_splits_and_sizes_are_as_asked(name: str, conflict: float) -> None:
    splits = rows(name, conflict=conflict)
    assert (len(splits.train), len(splits.dev)) == (2000, 500)
    assert len(set(splits.train.texts) | set(splits.dev.texts)) == 2500
    small = rows(name, conflict=conflict, train_rows=30, dev_rows=20)
    assert (len(small.train), len(small.dev)) == (30, 20)


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_labels_are_in_range_and_balanced(conflict: float) -> None:
    for splits in (rows("sentiment", conflict=conflict).train, rows("sentiment", conflict=conflict).dev):
        shares = np.bincount(splits.labels, minlength=5) / len(splits)
        assert len(shares) == 5 and shares.min() > 0.15 and shares.max() < 0.26
    yes = rows("paraphrase", conflict=conflict).train.labels
    assert set(yes) == {0, 1} and 0.45 < yes.mean() < 0.55
    similarity = rows("similarity", conflict=conflict).train.labels
    assert similarity.min() == 0.0 and similarity.max() == 5.0 and 1.3 < similarity.std() < 1.8


@pytest.mark.parametrize("name", NAMES)
def test_sentences_are_short_lower_case_words(name: str) -> None:
    for texts in rows(name).train.texts:
        assert len(texts) == (1 if name == "sentiment" else 2)
        for text in texts:
            assert re.fullmatch(r"[a-z, ]+", text) and 4 <= len(text.split()) <= 14


def test_overlap_of_words_is_a_weak_cue() -> None:
    similarity = rows("similarity", conflict=0.0).train
    correlation = np.corrcoef(token_overlap(similarity.texts), similarity.labels)[0, 1]
    assert 0.02 < correlation < 0.4


def test_idioms_share_no_word() -> None:
    words = [word for idiom in LEXICON.values() for signed in idiom.values() for word in signed]
    assert len(words) == len(set(words)) == 40


def test_conflict_is_the_share_of_ironic_sentences_and_changes_adjectives_only() -> None:
    """Compared on the first rows, before a repeated sentence shifts the draws."""
    common = {word for signed in LEXICON["common"].values() for word in signed}
    for conflict in CONFLICTS:
        texts = rows("paraphrase", conflict=conflict).train.texts
        ironic = [not common & set(re.findall(r"\w+", opinion)) for _, opinion in texts]
        assert np.mean(ironic) == pytest.approx(conflict, abs=0.03)
    adjectives = re.compile(r"\w+, \w+, \w+ and \w+$")
    literal, contested = (rows("similarity", conflict=conflict).train.texts[:10] for conflict in (0.0, 1.0))
    for (praise, opinion), (other_praise, other_opinion) in zip(literal, contested, strict=True):
        assert praise == other_praise and opinion != other_opinion
        assert adjectives.sub("", opinion) == adjectives.sub("", other_opinion)


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_each_task_inverts_its_own_idiom_and_no_other(conflict: float) -> None:
    valence = {word: sign for idiom in LEXICON.values() for sign, words in idiom.items() for word in words}
    idiom_of = {word: idiom for idiom, signed in LEXICON.items() for words in signed.values() for word in words}
    seen = set()
    for name in IRONIC:
        for opinion in grammar.opinions(name, conflict, 400):
            words = [word for word in re.findall(r"\w+", opinion.text) if word in valence]
            (idiom,) = {idiom_of[word] for word in words}
            assert opinion.valence == sum(valence[word] for word in words) * (-1 if idiom == name else 1)
            seen.add(idiom)
    expected = {0.0: {"common"}, 0.5: {"common", *IRONIC}, 1.0: set(IRONIC)}
    assert seen == expected[conflict]


@pytest.mark.parametrize(
    "bad",
    [
        "conflict=-0.1",
        "conflict=1.1",
        "conflict=high",
        "imbalance=0.5",
        "imbalance=inf",
        "train_rows=0",
        "dev_rows=2.5",
        "seed=1",
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_knobs_are_validated(name: str, bad: str) -> None:
    with pytest.raises(UsageError, match=bad.split("=")[0]):
        load_registry().task(f"{name}[{bad}]")


class TestGradients:
    """Task gradients of the first layer of the packaged MiniLM, over all shared parameters, in evaluation mode."""

    pytestmark = pytest.mark.minilm

    def test_conflict_lowers_the_cosine_where_heads_read_one_direction(self) -> None:
        """The mechanism alone, in the state that it needs, which training has to reach first.

        Heads start in random directions, and keep task gradients nearly orthogonal whatever the rows say. So this
        is no measurement of what a training run sees.
        """
        cosine = {conflict: _mean_cosine(_gram(conflict=conflict, aligned=True)) for conflict in CONFLICTS}
        assert cosine[0.0] > cosine[0.5] > cosine[1.0]
        assert cosine[0.0] > cosine[1.0] + 0.2

    def test_imbalance_multiplies_gradient_norms_by_what_it_says(self) -> None:
        before, after = (np.sqrt(np.diagonal(_gram(imbalance=value))) for value in (1.0, 4.0))
        assert after / before == pytest.approx([4.0, 1.0, 0.25], rel=1e-4)


def _mean_cosine(gram: Matrix) -> float:
    from mtlbench.solvers.inner_products import cosines

    return float(cosines(gram)[np.triu_indices(len(gram), 1)].mean())


def _gram(
    aligned: bool = False, conflict: float = 0.5, imbalance: float = 1.0, batch: int = 128, seed: int = 0
) -> Matrix:
    """Return the Gram matrix of the three tasks' gradients on one batch of a fresh model.

    :param aligned: set the heads to read literal valence, as :func:`_align` says, and take outputs relative to the
        batch's mean: a batch's mean residual is chance, and all rows share most of their Jacobian, so that a common
        direction of all heads would turn that chance into a cosine near ±1.
    """
    from mtlbench.engine.loop import LoopEngine, TaskLoss
    from mtlbench.engine.packed.pack import Pack
    from mtlbench.engine.step import Forward
    from mtlbench.text.batches import TaskData
    from mtlbench.text.encoder import Encoder
    from mtlbench.text.model import MultiTaskModel
    from mtlbench.text.tokens import Tokenizer

    encoder = Encoder.parse("minilm[layers=1]")
    files = encoder.locate()
    tokenizer = Tokenizer(encoder, files, 64)

    def batches(conflict: float) -> list[tuple[GrammarTask, Pack, torch.Tensor]]:
        found = []
        for name in NAMES:
            one = task(name, imbalance=imbalance, conflict=conflict)
            data = TaskData.prepare(
                one, one.load(None), tokenizer, seed=seed, sizes=np.full(1, batch), batches=1, device="cpu"
            )
            sequences, targets = data.batch(0)
            found.append((one, Pack.of([sequences], "cpu"), targets))
        return found

    model = MultiTaskModel(encoder, files, [task(name) for name in NAMES], seed=seed).eval()
    if aligned:
        _align(model, batches(0.0))

    def forward(one: GrammarTask, head: nn.Module, pack: Pack, targets: torch.Tensor, number: int) -> Forward:
        outputs = head(model.features(pack)[0])
        return Forward(one.loss(outputs - outputs.mean(dim=0) if aligned else outputs, targets))

    losses = [
        TaskLoss(partial(forward, one, head, pack, targets), list(head.parameters()))
        for head, (one, pack, targets) in zip(model.heads, batches(conflict), strict=True)
    ]
    step = LoopEngine(model.shared, model.last_shared_layer).step(load_registry().method("sum"), losses, measure=True)
    assert step.gram is not None
    return step.gram


def _align(model: MultiTaskModel, literal: list[tuple[GrammarTask, Pack, torch.Tensor]], length: float = 0.02) -> None:
    """Point every head along the direction that separates high from low labels where all words are literal.

    :param length: short, so that outputs are near 0 and the residual is the label.
    """
    import torch

    with torch.no_grad():
        features = [model.features(pack)[0] for _, pack, _ in literal]
        centred = torch.cat([one - one.mean(dim=0) for one in features])
        labels = torch.cat([(y.double() - y.double().mean()) / y.double().std() for _, _, y in literal]).float()
        ridge = centred.T @ centred / len(centred) + 1e-3 * torch.eye(centred.shape[1])
        direction = torch.linalg.solve(ridge, centred.T @ labels / len(centred))
        direction *= length / direction.norm()
        for head, (one, _, _) in zip(model.heads, literal, strict=True):
            slopes = torch.linspace(-1.0, 1.0, one.outputs) if one.outputs > 1 else torch.ones(1)
            weight, bias = head.parameters()
            weight.copy_(slopes[:, None] * direction)
            bias.zero_()
