"""The parts of a record: objects with named fields. :mod:`mtlbench.records.record` puts them together."""

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic accepts typing's own only from Python 3.12 on

Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of things; it fits the 64-bit columns of tables."""
ByMetric = dict[str, float | None]
Scores = dict[str, ByMetric]
"""Task → metric → value."""

form = with_config(ConfigDict(strict=True, allow_inf_nan=False))


@form
class MethodEntry(TypedDict):
    """The method of a cell."""

    spec: Annotated[Name, Field(description="name and parameters, as the user wrote them")]
    name: Annotated[Name, Field(description="name alone")]
    parameters: NotRequired[
        Annotated[
            dict[str, Any],
            Field(
                description="all parameters, defaults included; `base_lr`, the learning rate of the model, only where "
                "it is not the recipe's"
            ),
        ]
    ]
    joint: Annotated[bool, Field(description="false: one model per task, the single-task baseline")]
    reads: Annotated[Name, Field(description="what the method reads of a step, such as `gram` or `losses`")]
    heads: NotRequired[
        Annotated[
            str,
            Field(
                description="what the heads descend: `plain`, their task's loss; `weighted`, that loss times the "
                "task's weight; `log`, its logarithm"
            ),
        ]
    ]
    source_sha256: NotRequired[Annotated[str, Field(description="fingerprint of the code in the method's file")]]


@form
class FloorEntry(TypedDict):
    """The score of a trivial predictor."""

    name: Annotated[str, Field(description="the predictor, such as `majority class`")]
    value: Annotated[float | None, Field(description="its score; null where the metric is not defined for it")]


@form
class SplitEntry(TypedDict):
    """The test split of a task."""

    rows: Annotated[Count, Field(description="rows of the test split")]
    floors: Annotated[dict[str, list[FloorEntry]], Field(description="metric → trivial scores on the test split")]


@form
class AuditEntry(TypedDict, total=False):
    """Oddities of a task's rows. Some are left out for a problem: `shared`, and what needs all inputs at once."""

    leaked: Annotated[Count, Field(description="development rows that are training rows")]
    shared: Annotated[
        Count, Field(description="development rows that share a text with a training row; not for a problem")
    ]
    repeated: Annotated[Count, Field(description="training rows that repeat an earlier one")]
    contradicted: Annotated[Count, Field(description="training rows that repeat an earlier one with another label")]
    distinct: Annotated[Count, Field(description="distinct labels of the training rows")]
    whole: Annotated[Count, Field(description="training rows whose label is a whole number")]
    whole_dev: Annotated[Count, Field(description="development rows whose label is a whole number")]
    rarest: Annotated[
        Count | None, Field(description="training rows of the rarest class or label of the development rows")
    ]


@form
class TaskEntry(TypedDict):
    """A task of a cell."""

    spec: Annotated[Name, Field(description="name and parameters, as in the recipe")]
    prediction: Annotated[
        Name | None,
        Field(description="`classification`, `regression` or `multilabel`; null where a watched run does not say"),
    ]
    metrics: Annotated[
        list[Name],
        Field(description="the primary metric first; higher is better. Empty only for a watched run without scores"),
    ]
    train: Annotated[Count | None, Field(description="training rows; null where a watched run does not say")]
    dev: Annotated[Count | None, Field(description="development rows; null where a watched run does not say")]
    skipped: NotRequired[
        Annotated[dict[str, Count], Field(description="split → rows that were left out; absent for a problem")]
    ]
    source: NotRequired[Annotated[str, Field(description="where the rows come from")]]
    corpus: NotRequired[Annotated[str | None, Field(description="the corpus that the rows belong to")]]
    fingerprint: NotRequired[Annotated[str, Field(description="hash of the rows")]]
    floors: Annotated[dict[str, list[FloorEntry]], Field(description="metric → trivial scores on the development rows")]
    audit: NotRequired[Annotated[AuditEntry, Field(description="oddities of the rows")]]
    test: NotRequired[Annotated[SplitEntry | None, Field(description="the test split; null without one")]]


@form
class RecipeEntry(TypedDict):
    """The recipe of a cell, its steps resolved. Fields that a record lacks had their default when it was made."""

    tasks: Annotated[list[Name], Field(min_length=1, description="specs of the tasks")]
    steps: Annotated[Count, Field(ge=1, description="optimizer steps; each takes one batch of every task")]


@form
class EncoderEntry(TypedDict, total=False):
    """The encoder of a cell; where the recipe has a `problem`, that problem, whose model is its own."""

    spec: Annotated[str, Field(description="as in the recipe, its `model` or its `problem`")]
    name: Annotated[str, Field(description="for people")]
    fingerprint: Annotated[
        str,
        Field(description="hash of configuration, tokenizer and weights; of a problem, of its parameters and its code"),
    ]
    tuned_on: Annotated[
        list[str], Field(description="corpora that the encoder was tuned on before; none for a problem")
    ]
    parameters: Annotated[Count, Field(description="parameters of the shared part")]
    trainable: Annotated[Count, Field(description="those of them that are trained")]


@form
class EngineEntry(TypedDict, total=False):
    """The engine that computed task gradients."""

    name: Annotated[
        str,
        Field(
            description="`packed`, `lean` or `loop`; `surgery` for a problem, and for texts whose tasks share forward "
            "passes"
        ),
    ]
    reason: Annotated[
        str | None,
        Field(description="why a model of texts is not trained by `packed`; null where it is, and for a problem"),
    ]


@form
class PairingEntry(TypedDict, total=False):
    """Hashes that must agree between methods of one seed."""

    shared: Annotated[str | None, Field(description="initial weights of the shared part")]
    heads: Annotated[dict[str, str], Field(description="task → initial weights of its head")]
    schedule: Annotated[
        dict[str, str],
        Field(
            description="task → row numbers of every step's own batch; the further batches that some methods draw are "
            "not in it"
        ),
    ]
    dropout: Annotated[
        dict[str, str], Field(description="task → features of its first batch under dropout; of a problem, its outputs")
    ]


@form
class CostEntry(TypedDict):
    """What a step cost."""

    seconds_per_step: Annotated[
        float | None,
        Field(
            description="median of forward, backward, method and optimizer, without the first step of each process and "
            "without measured steps (a frozen encoder runs once, before the first step, and is not in it)"
        ),
    ]
    peak_memory_bytes: Annotated[
        Count | None, Field(description="peak resident (CPU) or allocated (GPU) memory of those steps")
    ]


@form
class ConflictEntry(TypedDict):
    """Disagreement of task gradients over the measured steps."""

    share: Annotated[float, Field(description="share of negative cosines between task gradients")]
    mean_cosine: Annotated[float, Field(description="mean of the cosines")]


@form
class EnvironmentEntry(TypedDict, total=False):
    """Where and with what a cell was trained."""

    versions: Annotated[dict[str, str | None], Field(description="package → version")]
    git: Annotated[
        dict[str, Any] | None, Field(description="`commit` of mtlbench's source, and whether it was `modified`")
    ]
    machine: Annotated[
        dict[str, Any],
        Field(
            description="`system`, `release`, `architecture`, `processor`, `cores`, and `gpu`: its name where the cell "
            "trained on one, else null (absent in older records)"
        ),
    ]


@form
class ErrorEntry(TypedDict):
    """Why a cell failed."""

    type: Annotated[str, Field(description="class of the exception")]
    message: Annotated[str, Field(description="its message, in one line")]
    step: NotRequired[Annotated[Count | None, Field(description="the optimizer step, from 1")]]
    task: NotRequired[Annotated[str | None, Field(description="the task's key")]]


@form
class FileEntry(TypedDict):
    """A side file, which lies beside the record."""

    name: Annotated[str, Field(description="name of the file, without a folder")]
    bytes: Annotated[Count, Field(description="its size")]
    sha256: Annotated[str, Field(description="hash of its content")]


@form
class WatchedTaskEntry(TypedDict):
    """A task's gradients in a watched run, over the steps at which they were measured."""

    looks: Annotated[Count, Field(description="steps at which its gradient was measured")]
    not_finite: Annotated[Count, Field(description="steps at which its loss or its gradient was not finite")]
    norm: Annotated[float | None, Field(description="median norm of its gradient over all watched parameters")]
    share: Annotated[
        float | None,
        Field(
            description="median share ⟨gᵢ, u⟩ / ‖u‖² of the plain sum u of all tasks' gradients; null where no step "
            "with all tasks was measured"
        ),
    ]
    first_loss: Annotated[float | None, Field(description="mean loss over the first tenth of the steps")]
    last_loss: Annotated[float | None, Field(description="mean loss over the last tenth of the steps")]


@form
class ProposedEntry(TypedDict):
    """The weights that a method would have given in a watched run."""

    looks: Annotated[Count, Field(description="measured steps with weights")]
    shares: Annotated[
        dict[str, float],
        Field(description="task → its weight over the sum of absolute weights, median; empty without such a step"),
    ]


@form
class WatchedEntry(TypedDict):
    """A user's own training that was watched: measured, not done by this program."""

    every: Annotated[int, Field(ge=1, description="steps from one measurement of a task's gradient to the next")]
    looks: Annotated[Count, Field(description="steps at which gradients were measured")]
    seconds: Annotated[float | None, Field(description="time spent on these measurements")]
    parameters: Annotated[Count, Field(description="numbers in the watched parameters")]
    rank: Annotated[Count, Field(description="the process whose losses were measured")]
    processes: Annotated[Count, Field(ge=1, description="processes that trained; other ranks were not measured")]
    tasks: Annotated[dict[str, WatchedTaskEntry], Field(description="task → its gradients")]
    proposed: Annotated[
        dict[str, ProposedEntry],
        Field(description="spec of a method → its weights at the measured steps. It did not train the model"),
    ]
