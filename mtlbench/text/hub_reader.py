"""Reader for labelled texts from data sets that Hugging Face's ``datasets`` loads: on the hub, or in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtlbench.contract.task import Rows
from mtlbench.errors import UsageError, one_line, unknown
from mtlbench.text.columns import Record, find_columns
from mtlbench.text.delimited import match_rows
from mtlbench.text.labels import Labels
from mtlbench.text.table_reader import row_test, to_rows


def read_hub(
    path: str,
    config: str | None,
    splits: Sequence[str],
    text_columns: Sequence[str],
    label_columns: Sequence[str],
    labels: Labels,
    *,
    instead: str,
    revision: str | None = None,
    skip_unlabelled: bool = False,
) -> list[Rows]:
    """Read splits of a data set, in order. A data set's own code is never run: ``datasets`` does not run it by default.

    Where the data set names its classes and the task declares names, labels are matched by name; where the task
    declares a number of classes, it must equal the data set's. ``datasets`` writes class -1 for a row without a label.

    :param path: an id on the hub (``owner/name``), or a folder with data files.
    :param config: the data set's configuration, if it has several.
    :param splits: names of the splits to read.
    :param text_columns: names of one or two columns of text.
    :param label_columns: names of the columns of the label: one, or one per label.
    :param labels: how labels are read.
    :param instead: advice for a user without network, besides a filled cache and the embedded tasks.
    :param revision: a commit, tag or branch on the hub.
    :param skip_unlabelled: leave out rows without a label, however many they are.
    :raises UsageError: when the data set cannot be loaded; when it lacks a split or a column; and as
        :func:`mtlbench.text.table_reader.to_rows`.
    """
    name = f"{path}/{config}" if config else path
    try:
        from datasets import load_dataset

        data_set: Mapping[str, Any] = load_dataset(path, config, revision=revision)
    except Exception as error:  # datasets raises exceptions of many classes; the remedies are the same
        reason = one_line(str(error), 200) or type(error).__name__
        if isinstance(error, ValueError) or Path(path).is_dir():  # the data set exists; the request is wrong
            raise UsageError(f"cannot load {name}: {reason}") from None
        raise UsageError(
            f"cannot load {name} from the Hugging Face hub ({reason}); connect once or point HF_HOME to a cache "
            f"that holds it, or {instead}, or run the embedded tasks with --suite quick"
        ) from None
    wanted = (*text_columns, *label_columns)
    rows_by_split = []
    for split in splits:
        if split not in data_set:
            raise unknown(f"split of {name}:", split, data_set)
        origin = f"{name} {split}"
        names = data_set[split].column_names
        indices = find_columns(origin, wanted, names)
        columns = [names[index] for index in indices]
        cells = data_set[split].select_columns(columns)[:]
        if Path(path).is_dir():
            texts = [cells[column] for column in columns[: len(text_columns)]]
            _check_texts(texts, origin, len(names), indices, labels)
        for column in columns[len(text_columns) :]:
            if classes := _class_names(data_set[split].features[column]):
                cells[column] = _class_labels(cells[column], classes, f"{origin}: column '{column}'", labels)
        records: list[Record] = list(enumerate(zip(*(cells[name] for name in columns), strict=True), start=1))
        rows_by_split.append(to_rows(records, origin, "row", labels, skip_unlabelled=skip_unlabelled))
    return rows_by_split


def _check_texts(
    columns: Sequence[Sequence[Any]], origin: str, width: int, indices: Sequence[int], labels: Labels
) -> None:
    """Check that no text consists of rows: ``datasets`` reads the lines between two stray quotes as one text.

    :raises UsageError: when lines in the middle of a text are rows.
    """
    for texts in columns:
        for number, text in enumerate(texts, start=1):
            inner = text.split("\n")[1:-1] if isinstance(text, str) else []
            for delimiter in "\t,":
                if delimiter not in "".join(inner):
                    continue
                results = match_rows(inner, width, delimiter, indices, row_test(labels))
                if True in results and 2 * results.count(False) < len(results):
                    raise UsageError(
                        f"{origin}, row {number}: a text of {len(inner) + 2} lines, {results.count(True)} of which are "
                        "rows by themselves, between two double quotes; read the file with the task table, which can "
                        "take quotes as text"
                    )


def _class_names(feature: Any) -> list[str]:
    """Return the class names of a column, or of the lists in it; an empty list for numbers and text."""
    return list(getattr(getattr(feature, "feature", feature), "names", None) or [])


def _class_labels(cells: list[Any], names: list[str], column: str, labels: Labels) -> list[Any]:
    """Return the labels of a column of classes: by name if the task declares names, else by number.

    :param cells: class numbers, or lists of them; -1 where a row has no label.
    :param names: the data set's names of the classes.
    :param column: the column, for messages.
    """
    declared: Sequence[str] = getattr(labels, "names", ())
    if not declared or labels.columns > 1:  # with several columns, the declared names are those of the columns
        if labels.columns == 1 and labels.prediction != "regression" and len(names) != labels.outputs:
            raise UsageError(
                f"{column} has {len(names)} classes, not {labels.outputs}: {one_line('/'.join(names), 200)}"
            )
        return [None if cell == -1 else cell for cell in cells]

    def name(cell: Any) -> Any:
        if isinstance(cell, list):
            return [name(item) for item in cell]
        return None if cell is None or cell < 0 else names[cell]

    return [name(cell) for cell in cells]
