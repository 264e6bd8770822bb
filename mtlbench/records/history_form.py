"""The form of a history's rows, written once: its type, its validation, its JSON Schema and its page."""

from collections.abc import Collection, Set
from typing import Annotated, Any, Final, Literal, NotRequired, cast, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import from_json
from typing_extensions import TypedDict  # pydantic accepts typing's own only from Python 3.12 on

ByTask = dict[str, float]
Measured = dict[str, float | None]


@with_config(ConfigDict(strict=True, json_schema_extra={"oneOf": [{"required": ["losses"]}, {"required": ["scores"]}]}))
class HistoryRow(TypedDict):
    """A row of a history: a step has losses, an evaluation has scores.

    A number may be infinite or NaN: a run may diverge.
    """

    step: Annotated[int, Field(ge=1, lt=2**63, description="the optimizer step, from 1")]
    losses: NotRequired[
        Annotated[ByTask, Field(description="of a step: task → mean over its rows, whatever `sampling`")]
    ]
    scores: NotRequired[Annotated[dict[str, Measured], Field(description="of an evaluation: task → metric → value")]]
    elapsed: NotRequired[
        Annotated[float | None, Field(description="of an evaluation or a look: training seconds so far")]
    ]
    seconds: NotRequired[Annotated[float, Field(description="duration of the step")]]
    weights: NotRequired[
        Annotated[
            Measured,
            Field(
                description="task → the method's own weight; absent where a method returns an update in place of "
                "weights"
            ),
        ]
    ]
    factor: NotRequired[
        Annotated[
            float,
            Field(
                description="what the shared update was then multiplied with, by the method's own clipping or by "
                "`update_norm = sum`, so that the update is `factor` · Σ `weights`ᵢ gᵢ; absent where it is exactly 1, "
                "and for methods that train one model per task"
            ),
        ]
    ]
    norms: NotRequired[
        Annotated[
            Measured,
            Field(description="every `measure_every` steps: task → norm of its gradient over all shared parameters"),
        ]
    ]
    cosines: NotRequired[
        Annotated[
            Measured,
            Field(
                description='every `measure_every` steps: `"a|b"` → cosine between the gradients of two tasks; null '
                "where a gradient is zero"
            ),
        ]
    ]
    look: NotRequired[
        Annotated[float, Field(description="of a watched run: duration of the measurement of norms and cosines")]
    ]
    proposed: NotRequired[
        Annotated[
            dict[str, Measured],
            Field(
                description="of a watched run: spec of a method → task → the weight that it would have given; absent "
                "where a loss or a gradient was not finite, or a task had no loss"
            ),
        ]
    ]
    moved: NotRequired[
        Annotated[float, Field(description="of a probed step: norm of the shared parameters' change in it")]
    ]
    size: NotRequired[Annotated[float, Field(description="of a probed step: norm of the shared parameters")]]
    half: NotRequired[
        Annotated[ByTask, Field(description="of a probed step: losses of its own batches half-way along the step")]
    ]
    after: NotRequired[Annotated[ByTask, Field(description="of a probed step: losses of its own batches after it")]]
    next: NotRequired[
        Annotated[
            ByTask,
            Field(
                description="of a probed step: losses of the next step's batches before the step (after it they are "
                "the next row's `losses`); absent in older records"
            ),
        ]
    ]
    skipped: NotRequired[
        Annotated[
            bool,
            Field(
                description="true where gradients overflowed float16, at the scale that losses had then: there was no "
                "optimizer step, no step of the learning rate's schedule, and the method was not asked (or its state "
                "was put back); absent elsewhere"
            ),
        ]
    ]
    floored: NotRequired[
        Annotated[
            list[str],
            Field(
                description="tasks whose loss of exactly 0 counted as 10⁻⁸ in the step, as the record's field of that "
                "name says; `losses` has the 0. Absent elsewhere, and in older records"
            ),
        ]
    ]


ROW_FORM: TypeAdapter[HistoryRow] = TypeAdapter(HistoryRow)
ROWS_FORM: TypeAdapter[list[HistoryRow]] = TypeAdapter(list[HistoryRow])
ByLoss = Literal["weights", "norms", "half", "after", "next"]
BY_LOSS: Final[tuple[ByLoss, ...]] = get_args(ByLoss)
"""Measurements of the tasks that have a loss in the row."""


def check_row(row: Any, tasks: Collection[str]) -> HistoryRow:
    """Check a row of a history that somebody else may have written.

    :param row: data from JSON.
    :param tasks: the tasks of its record.
    :returns: the row itself.
    :raises ValueError: when a reader could not rely on it; the message says why.
    """
    try:
        ROW_FORM.validate_python(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"not the form of a history: {where} {first['msg'].lower()}".replace("  ", " ")) from None
    check_tasks(row, frozenset(tasks))
    return cast(HistoryRow, row)


def check_rows(content: bytes, tasks: Collection[str]) -> list[HistoryRow] | None:
    """Check a whole history at once, many times as fast as row by row.

    :param content: JSON, one row a line.
    :param tasks: the tasks of its record.
    :returns: ``None`` when something is wrong: reading row by row tells what.
    """
    lines = content.splitlines()
    try:
        rows: list[HistoryRow] = from_json(b"[" + b",".join(lines) + b"]")
        ROWS_FORM.validate_python(rows)
        known = frozenset(tasks)
        for row in rows:
            check_tasks(row, known)
    except ValueError:  # pydantic's ValidationError is one
        return None
    return rows if len(rows) == len(lines) else None


def check_tasks(row: HistoryRow, tasks: Set[str]) -> None:
    """Check that a row is of its record's tasks, and that its parts are of the same tasks.

    :param row: a row of the right form.
    :param tasks: the tasks of its record.
    :raises ValueError: when one is not; the message says which.
    """
    losses, scores = row.get("losses"), row.get("scores")
    measured = scores if losses is None else losses
    if measured is None or (losses is not None and scores is not None):
        raise ValueError("not the form of a history: a row has either losses or scores")
    names = measured.keys()
    if not names <= tasks:
        raise ValueError("not the form of a history: it is of other tasks")
    for name in BY_LOSS:
        if name in row and not row[name].keys() <= names:
            raise ValueError(f"not the form of a history: {name} are of other tasks than its losses")
    if "floored" in row and not set(row["floored"]) <= names:
        raise ValueError("not the form of a history: floored are of other tasks than its losses")
    if "proposed" in row and any(not weights.keys() <= names for weights in row["proposed"].values()):
        raise ValueError("not the form of a history: proposed weights are of other tasks than its losses")
    if "cosines" in row:
        norms = row.get("norms", {})
        if not row["cosines"].keys() <= {f"{a}|{b}" for a in norms for b in norms}:
            raise ValueError("not the form of a history: cosines are of other tasks than its norms")
