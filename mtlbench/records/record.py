"""The form of a record, written once: its types, its validation, its JSON Schema and its page in docs/records.md.

A record is a plain dict, read from JSON or built in memory; the types below describe it to a type checker, to pydantic
and to readers of the page. Fields that older records lack are ``NotRequired``.
"""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic accepts typing's own only from Python 3.12 on

from mtlbench.contract.entries import (
    ConflictEntry,
    CostEntry,
    Count,
    EncoderEntry,
    EngineEntry,
    EnvironmentEntry,
    ErrorEntry,
    FileEntry,
    MethodEntry,
    Name,
    PairingEntry,
    RecipeEntry,
    Scores,
    TaskEntry,
    WatchedEntry,
    form,
)
from mtlbench.host.safe_names import is_file_name
from mtlbench.plan.cells import SEEDS_END

SCHEMA: Final = 1
"""Version of the form."""


@form
class RecordFile(TypedDict):
    """A record, as its file has it."""

    schema: Annotated[Literal[1], Field(description="version of this form: 1")]
    key: Annotated[
        Name,
        Field(
            description="SHA-256 of everything that decides the result: protocol, recipe, rows of the tasks, encoder "
            "files or the problem's code, seed, method, parameters, the code of the method's file"
        ),
    ]
    group: Annotated[Name, Field(description="the same without method and seed: only cells of one group are compared")]
    status: Annotated[Literal["done", "failed"], Field(description="`done` or `failed`; a failed cell runs again")]
    suite: Annotated[Name, Field(description="as asked for")]
    seed: Annotated[int, Field(ge=0, lt=SEEDS_END, description="as asked for")]
    method: Annotated[MethodEntry, Field(description="the method")]
    recipe: Annotated[RecipeEntry, Field(description="every field of the suite's recipe, steps resolved")]
    tasks: Annotated[dict[Name, TaskEntry], Field(min_length=1, description="key → task")]
    encoder: Annotated[EncoderEntry, Field(description="the encoder, or the problem")]
    engine: NotRequired[
        Annotated[
            EngineEntry | str | None,
            Field(description="how task gradients were computed; `loop`, a string, in older records"),
        ]
    ]
    cut: NotRequired[
        Annotated[
            dict[str, dict[str, Count]] | None,
            Field(
                description="task → `tokens`, the longest that a sequence may be (`max_length`, or the encoder's last "
                "position), and how many rows of the whole splits `train` and `dev` (and `test`) were longer and were "
                "cut. Empty for a problem"
            ),
        ]
    ]
    seen: NotRequired[
        Annotated[
            dict[str, Count] | None,
            Field(description="task → training rows that the steps took, each counted as often as it was taken"),
        ]
    ]
    floored: NotRequired[
        Annotated[
            dict[str, Count] | None,
            Field(
                description="task → steps in which its loss was exactly 0 and the method takes logarithms or ratios of "
                "losses: it counted as 10⁻⁸ there (a mean of losses, where a method takes one). Positive losses count "
                "as they are, however small. Empty where there was none"
            ),
        ]
    ]
    pairing: Annotated[PairingEntry | None, Field(description="hashes that must agree between methods of one seed")]
    scores: Annotated[
        Scores,
        Field(description="task → metric → value on the development rows after the last step; higher is better"),
    ]
    test_scores: NotRequired[
        Annotated[
            Scores | None,
            Field(
                description="the same on the test split; null without one. `mtlbench report --split test` reports them"
            ),
        ]
    ]
    cost: Annotated[CostEntry, Field(description="what a step cost")]
    conflict: Annotated[
        ConflictEntry | None,
        Field(description="how far task gradients disagreed, over the measured steps; null for single-task"),
    ]
    environment: Annotated[EnvironmentEntry, Field(description="where and with what the cell was trained")]
    started: Annotated[
        str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", description="time of the start, UTC")
    ]
    tries: NotRequired[
        Annotated[
            Count,
            Field(
                description="how many processes it took: 1, and one more for each that crashed, was stopped from "
                "outside, or was lost with its machine; at most 3, or 2 where SIGKILL ended one, which may mean too "
                "little memory. A cell that fails by itself (NaN, too little memory as Python reports it, a method's "
                "error) is not tried again"
            ),
        ]
    ]
    seconds: Annotated[
        float | None,
        Field(
            description="duration of the whole cell, over all its processes but without what was trained after a "
            "checkpoint and lost; null where its process died"
        ),
    ]
    resumed: NotRequired[
        Annotated[
            list[Count],
            Field(
                description="the steps after which a process went on from the checkpoint of an earlier one, in order; "
                "empty where one process did it all. The cell's bits are the same either way; the first step after "
                "each, like the very first, is not in `seconds_per_step`"
            ),
        ]
    ]
    error: Annotated[ErrorEntry | None, Field(description="why the cell failed; null where it did not")]
    files: Annotated[
        dict[str, FileEntry],
        Field(
            description="side files: `history`, `predictions`, `test_predictions` (where there is a test split), `log`"
        ),
    ]
    left_out: NotRequired[
        Annotated[
            dict[str, FileEntry],
            Field(
                description="side files that `mtlbench merge --without` left out of this copy on purpose, as `files` "
                "named them; absent where there are none. With these in `files` again, the record has the checksum "
                "that it had before"
            ),
        ]
    ]
    watched: NotRequired[
        Annotated[
            WatchedEntry | None,
            Field(
                description="of a user's own training that was watched, see [Watched runs](#watched-runs); absent for "
                "a cell"
            ),
        ]
    ]
    checksum: NotRequired[
        Annotated[str, Field(description="SHA-256 of the record's canonical JSON without this field")]
    ]


class Record(RecordFile):
    """A record in memory: what its file has, and where the file lies."""

    path: NotRequired[str]
    """Added by readers."""


RECORD_FORM: TypeAdapter[RecordFile] = TypeAdapter(RecordFile)


def check_record(record: Any) -> None:
    """Check that a record has the form that every reader relies on.

    :param record: data from JSON.
    :raises ValueError: when it has not; the message names the field.
    """
    try:
        checked = RECORD_FORM.validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].replace("Input should be", "should be")
        raise ValueError(f"not the form of a record: {where} {reason}") from None
    tasks = checked["tasks"]
    watched = checked.get("watched")
    if watched is None:
        _check_described(tasks)
    elif checked["group"] != checked["key"]:
        raise ValueError("not the form of a record: a watched run is a group of its own, so its group is its key")
    elif any(names != set(tasks) for names in _watched_tasks(watched)):
        raise ValueError("not the form of a record: watched is of other tasks")
    if not all(task["spec"] in checked["recipe"]["tasks"] for task in tasks.values()):
        raise ValueError("not the form of a record: a task is not one of the recipe's")
    for task, scores in [*checked["scores"].items(), *(checked.get("test_scores") or {}).items()]:
        if task not in tasks or set(scores) != set(tasks[task]["metrics"]):
            raise ValueError(f"not the form of a record: its scores of {task} are not those of the task's metrics")
    left_out = checked.get("left_out", {})
    for file in (*checked["files"].values(), *left_out.values()):
        if not is_file_name(file["name"]):
            raise ValueError(f"not the form of a record: side file {file['name']} would lie elsewhere")
    if both := sorted(checked["files"].keys() & left_out.keys()):
        raise ValueError(f"not the form of a record: its {both[0]} is named as left out, and as a file")


def _check_described(tasks: dict[str, TaskEntry]) -> None:
    """Check that the tasks of a cell are described in full; those of a watched run need not be.

    :raises ValueError: when one is not; the message names the field.
    """
    for name, task in tasks.items():
        for field in ("prediction", "metrics", "train", "dev"):
            if task[field] is None or task[field] == []:
                raise ValueError(f"not the form of a record: tasks.{name}.{field} should have a value")


def _watched_tasks(watched: WatchedEntry) -> list[set[str]]:
    """Return the tasks that were measured, and those of every method that had weights."""
    return [set(watched["tasks"]), *(set(one["shares"]) for one in watched["proposed"].values() if one["shares"])]
