"""The faults that ``benchmarks.planted`` plants: each is one change of one healthy recipe."""

from __future__ import annotations

from dataclasses import dataclass

RECIPE = {
    "model": '"ENCODER[init=random]"',
    "steps": "800",
    "batch_size": "16",
    "lr": "3e-3",
    "lr_schedule": '"linear"',
    "max_length": "64",
    "evaluations": "5",
    "dev_limit": "300",
    "measure_every": "40",
    "threads": "1",
}
"""The healthy recipe, in TOML; ENCODER stands for the folder of the tiny BERT."""
TASKS = ("sentiment", "paraphrase", "similarity")
HEAD = '''
from dataclasses import dataclass, replace
import numpy as np, torch
from torch.nn import functional
from mtlbench.tasks.sentiment import Sentiment
from mtlbench.tasks.paraphrase import Paraphrase
from mtlbench.tasks.similarity import Similarity

def picked(rows, numbers, labels=None):
    """Return some rows, by their numbers, with other labels if there are such."""
    labels = rows.labels if labels is None else labels
    return replace(rows, texts=[rows.texts[number] for number in numbers], labels=labels[numbers])
'''


@dataclass(frozen=True)
class Fault:
    """One change of the healthy recipe.

    :param code: the finding that must be made.
    :param plugin: Python code of a faulty task.
    :param tasks: in place of the healthy ones.
    :param changes: of fields of the recipe, in TOML.
    :param methods: that are run.
    :param seeds: how many, of each.
    :param consequences: findings that the fault brings with it, and that a user would want to read.
    """

    name: str
    code: str
    plugin: str = ""
    tasks: tuple[str, ...] = TASKS
    changes: tuple[tuple[str, str], ...] = ()
    methods: tuple[str, ...] = ("sum",)
    seeds: int = 1
    consequences: tuple[str, ...] = ()


def _faulty(base: str, body: str) -> str:
    return f'{HEAD}\n@dataclass\nclass Faulty({base}):\n    """Faulty."""\n    name = "faulty"\n{body}'


def _loss(base: str, body: str) -> str:
    """A task with another loss: the body of its method."""
    return _faulty(
        base, "    def loss(self, outputs, targets):\n" + "".join(f"        {x}\n" for x in body.split("\n"))
    )


def _rows(base: str, body: str) -> str:
    """A task with other rows: what follows its loading."""
    lines = ["splits = super().load(data_dir)", "train, dev = splits.train, splits.dev", *body.split("\n")]
    lines += ["return replace(splits, train=train, dev=dev)"]
    return _faulty(base, "    def load(self, data_dir):\n" + "".join(f"        {line}\n" for line in lines))


SENTIMENT = ("faulty", "paraphrase", "similarity")
PARAPHRASE = ("sentiment", "faulty", "similarity")
SIMILARITY = ("sentiment", "paraphrase", "faulty")
UNTRAINED = ("below-floor", "missing-classes", "one-sided-head", "shifted-threshold", "dead-head", "not-learned")
"""What may be true of tasks that were not learned."""

LOSSES = (
    Fault(
        "a loss 100 times as large",
        "loss-scale",
        _loss("Similarity", "return 100 * super().loss(outputs, targets)"),
        SIMILARITY,
        consequences=("dominated", *UNTRAINED, "underfit"),
    ),
    Fault(
        "cross entropy summed over the batch",
        "odd-first-loss",
        _loss("Sentiment", 'return functional.cross_entropy(outputs, targets, reduction="sum")'),
        SENTIMENT,
        consequences=("loss-scale", "dominated", *UNTRAINED),
    ),
    Fault(
        "softmax over the batch of one logit",
        "odd-first-loss",
        _loss(
            "Paraphrase",
            "return functional.cross_entropy(outputs[:, 1] - outputs[:, 0], targets.float())",
        ),
        PARAPHRASE,
        consequences=("loss-scale", "dominated", *UNTRAINED),
    ),
    Fault(
        "a class weight of 1 : 50",
        "one-sided-head",
        _loss(
            "Paraphrase",
            "weight = torch.tensor([0.02, 1.0])\nreturn functional.cross_entropy(outputs, targets, weight=weight)",
        ),
        PARAPHRASE,
        consequences=("below-floor", "loss-scale", "dominated"),  # its loss is small as soon as it says yes
    ),
    Fault(
        "trained with a scale and a bias that evaluation does not know",
        "shifted-threshold",
        _loss("Paraphrase", "return functional.cross_entropy(20 * outputs + torch.tensor([0.0, 5.0]), targets)"),
        PARAPHRASE,
        consequences=("odd-first-loss", "one-sided-head", "below-floor", "underfit"),
    ),
    Fault(
        "inner classes of five with weight 0.001",
        "missing-classes",
        _loss(
            "Sentiment",
            "weight = torch.tensor([1.0, 0.001, 0.001, 0.001, 1.0])\n"
            "return functional.cross_entropy(outputs, targets, weight=weight)",
        ),
        SENTIMENT,
    ),
    Fault(
        "a loss that does not depend on the outputs",
        "no-gradient",
        _loss("Similarity", "return 0 * super().loss(outputs, targets) + 1"),
        SIMILARITY,
        consequences=("below-floor", "dead-head", "not-learned"),
    ),
    Fault(
        "every target replaced by 0",
        "dead-head",
        _loss("Similarity", "return super().loss(outputs, 0 * targets)"),
        SIMILARITY,
        consequences=("below-floor", "loss-scale"),
    ),
    Fault(
        "a gradient with the wrong sign",
        "diverged",
        _loss("Paraphrase", "loss = super().loss(outputs, targets)\nreturn 2 * loss.detach() - loss"),
        PARAPHRASE,
        consequences=("learning-rate-high", "loss-scale", "dominated", *UNTRAINED),
    ),
    Fault(
        "not a number from step 20 on",
        "not-finite",
        _loss(
            "Similarity",
            "Faulty.count = getattr(Faulty, 'count', 0) + 1\n"
            'factor = float("nan") if Faulty.count > 20 else 1.0\n'
            "return factor * super().loss(outputs, targets)",
        ),
        SIMILARITY,
    ),
)
"""Losses that are not what they should be."""

ROWS = (
    Fault(
        "labels shuffled among the training rows",
        "not-learned",
        _rows(
            "Paraphrase",
            "order = np.random.default_rng(0).permutation(len(train))\n"
            "train = replace(train, labels=train.labels[order])",
        ),
        PARAPHRASE,
        consequences=("reversed-head", *UNTRAINED),
    ),
    Fault(
        "second texts shuffled among all rows",
        "below-floor",
        _rows(
            "Similarity",
            "def shuffled(rows):\n"
            "    order = np.random.default_rng(0).permutation(len(rows))\n"
            "    return replace(rows, texts=[(one[0], rows.texts[n][1]) for one, n in zip(rows.texts, order)])\n"
            "train, dev = shuffled(train), shuffled(dev)",
        ),
        SIMILARITY,
        consequences=UNTRAINED,
    ),
    Fault(
        "development labels that mean the opposite",
        "reversed-head",
        _rows("Paraphrase", "dev = replace(dev, labels=1 - dev.labels)"),
        PARAPHRASE,
        consequences=("below-floor", "overfit"),
    ),
    Fault(
        "development rows among the training rows",
        "leakage",
        _rows(
            "Paraphrase",
            "labels = np.concatenate([train.labels, dev.labels])\n"
            "train = replace(train, texts=[*train.texts, *dev.texts], labels=labels)",
        ),
        PARAPHRASE,
    ),
    Fault(
        "first texts of development rows taken from training rows",
        "shared-texts",
        _rows("Similarity", "dev = replace(dev, texts=[(a[0], b[1]) for a, b in zip(train.texts, dev.texts)])"),
        SIMILARITY,
        consequences=("below-floor",),
    ),
    Fault(
        "training rows joined with themselves",
        "duplicates",
        _rows("Sentiment", "train = picked(train, [*range(len(train)), *range(len(train))])"),
        SENTIMENT,
    ),
    Fault(
        "a tenth of the training rows a second time, with another label",
        "duplicates",
        _rows(
            "Sentiment",
            "again = picked(train, range(len(train) // 10), 4 - train.labels)\n"
            "train = replace(train, texts=[*train.texts, *again.texts],"
            " labels=np.concatenate([train.labels, again.labels]))",
        ),
        SENTIMENT,
    ),
    Fault(
        "training scores cut to whole numbers",
        "whole-labels",
        _rows(
            "Similarity",
            "noise = np.random.default_rng(0).uniform(-0.4, 0.4, len(dev))\n"
            "train = replace(train, labels=np.floor(train.labels))\ndev = replace(dev, labels=dev.labels + noise)",
        ),
        SIMILARITY,
    ),
    Fault(
        "a class without training rows",
        "absent-class",
        _rows("Sentiment", "train = picked(train, np.flatnonzero(train.labels != 4))"),
        SENTIMENT,
    ),
    Fault(
        "a file sorted by label, and cut",
        "absent-class",
        _rows("Sentiment", 'train = picked(train, np.argsort(train.labels, kind="stable")[: len(train) * 2 // 5])'),
        SENTIMENT,
        consequences=("missing-classes", "below-floor", "overfit"),
    ),
    Fault(
        "40 training rows",
        "overfit",
        _rows("Sentiment", "train = picked(train, range(40))"),
        SENTIMENT,
        consequences=("uneven-epochs",),
    ),
    Fault(
        "100 training rows beside 20,000",
        "uneven-epochs",
        _rows("Sentiment", "train = picked(train, range(100))"),
        ("faulty", "paraphrase[train_rows=20000]", "similarity[train_rows=20000]"),
        consequences=("overfit",),
    ),
)
"""Rows that are not what they should be."""

RECIPES = (
    Fault("learning rate a hundred-thousandth", "learning-rate-low", changes=(("lr", "3e-8"),), consequences=UNTRAINED),
    Fault(
        "learning rate 100 times as high",
        "learning-rate-high",
        changes=(("lr", "0.3"),),
        consequences=(*UNTRAINED, "diverged", "no-gradient"),
    ),
    Fault(
        "200 steps, evaluated twice",
        "underfit",
        changes=(("steps", "200"), ("evaluations", "2")),
        consequences=("missing-classes", "below-floor", "not-learned"),
    ),
    Fault(
        "a frozen encoder",
        "frozen-encoder",
        changes=(("model", '"ENCODER[frozen=true,init=random]"'),),
        consequences=(*UNTRAINED, "underfit"),
    ),
    Fault(
        "texts of a pair encoded apart",
        "encoded-apart",
        changes=(("model", '"ENCODER[init=random,pairs=apart]"'),),
        consequences=("below-floor", "underfit"),
    ),
    Fault(
        "texts cut to 8 tokens",
        "cut-texts",
        changes=(("max_length", "8"),),
        consequences=("dominated", *UNTRAINED),
    ),
    Fault(
        "weights 200 : 1 : 1",
        "dominated",
        methods=("fixed[w=200:1:1]",),
        consequences=UNTRAINED,
    ),
    Fault(
        "weights 1 : 100 : 100, beside single-task training",
        "negative-transfer",
        changes=(("lr", "1e-3"),),  # at 3e-3 a model alone is now and then stuck
        methods=("stl", "fixed[w=1:100:100]"),
        seeds=4,
        consequences=("below-floor",),
    ),
    Fault(
        "PCGrad on two tasks that agree",
        "no-conflict",
        _faulty("Sentiment", ""),
        ("sentiment[conflict=0]", "faulty[conflict=0]"),
        changes=(("steps", "70"), ("batch_size", "512"), ("lr", "1e-3"), ("measure_every", "10")),
        methods=("pcgrad",),
        consequences=("underfit", "not-learned", "below-floor", "missing-classes"),
    ),
    Fault(
        "PCGrad on opposed tasks, at a tenth of the learning rate",
        "conflict-not-in-step",
        tasks=("sentiment[conflict=1]", "paraphrase[conflict=1]", "similarity[conflict=1]"),
        changes=(("lr", "3e-4"), ("steps", "300"), ("measure_every", "10"), ("evaluations", "2")),
        methods=("pcgrad",),
        seeds=3,
        consequences=("underfit", *UNTRAINED),
    ),
    Fault(
        "PCGrad beside a loss 100 times as curved",
        "three-conditions",
        _loss("Similarity", "return 4 * super().loss(outputs, targets) + 100 * outputs.mean() ** 2"),
        SIMILARITY,
        changes=(("steps", "300"), ("measure_every", "10"), ("evaluations", "2")),
        methods=("pcgrad",),
        consequences=("learning-rate-high", "loss-scale", "dominated", "underfit", *UNTRAINED),
    ),
)
"""Recipes that are not what they should be."""

FAULTS = (*LOSSES, *ROWS, *RECIPES)
