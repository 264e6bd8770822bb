"""Reads labelled texts from data sets that Hugging Face's ``datasets`` loads: on the hub, or in a folder of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtlbench.contract.task import Rows
from mtlbench.errors import UsageError, one_line, unknown
from mtlbench.text.columns import Record, find_columns
from mtlbench.text.delimited import rows_in
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
    """Read splits of a data set, in order. No code of the data set's own is run: ``datasets`` runs none unasked.

    Where the data set names its classes, these names are what labels are read by, or their number must be the declared
    one. A class of -1 is how ``datasets`` writes that a row has no label.

    :param path: an id on the hub (``owner/name``), or a folder with files of data.
    :param instead: a way out where there is no network, beside a filled cache and the embedded tasks.
    :param revision: a commit, tag or branch on the hub.
    :raises UsageError: when the data set cannot be had, lacks a configuration, a split or a column, and as
        :func:`mtlbench.text.table_reader.to_rows`.
    """
    name = f"{path}/{config}" if config else path
    try:
        from datasets import load_dataset

        found: Mapping[str, Any] = load_dataset(path, config, revision=revision)
    except Exception as error:  # the hub fails in many ways, each with its own class; the ways out are the same
        reason = one_line(str(error), 200) or type(error).__name__
        if isinstance(error, ValueError) or Path(path).is_dir():  # it was there, but not what was asked for
            raise UsageError(f"cannot load {name}: {reason}") from None
        raise UsageError(
            f"cannot load {name} from the Hugging Face hub ({reason}); connect once or point HF_HOME to a cache "
            f"that holds it, or {instead}, or run the embedded tasks with --suite quick"
        ) from None
    wanted = (*text_columns, *label_columns)
    read = []
    for split in splits:
        if split not in found:
            raise unknown(f"split of {name}:", split, found)
        origin = f"{name} {split}"
        names = found[split].column_names
        places = find_columns(origin, wanted, names)
        columns = [names[place] for place in places]
        cells = found[split].select_columns(columns)[:]
        if Path(path).is_dir():
            _check_texts([cells[column] for column in columns[: len(text_columns)]], origin, len(names), places, labels)
        for column in columns[len(text_columns) :]:
            if classes := _class_names(found[split].features[column]):
                cells[column] = _named(cells[column], classes, f"{origin}: column '{column}'", labels)
        records: list[Record] = list(enumerate(zip(*(cells[name] for name in columns), strict=True), start=1))
        read.append(to_rows(records, origin, "row", labels, skip_unlabelled=skip_unlabelled))
    return read


def _check_texts(
    columns: Sequence[Sequence[Any]], origin: str, width: int, places: Sequence[int], labels: Labels
) -> None:
    """Check that no text of a file in a folder is made of rows: so ``datasets`` reads what is between two stray quotes.

    :raises UsageError: when lines in the middle of a text are rows.
    """
    for texts in columns:
        for number, text in enumerate(texts, start=1):
            inner = text.split("\n")[1:-1] if isinstance(text, str) else []
            for delimiter in "\t,":
                told = rows_in(inner, width, delimiter, places, row_test(labels)) if delimiter in "".join(inner) else []
                if True in told and 2 * told.count(False) < len(told):
                    raise UsageError(
                        f"{origin}, row {number}: a text of {len(inner) + 2} lines, {told.count(True)} of which are "
                        "rows by themselves, between two double quotes; read the file with the task table, which can "
                        "take quotes as text"
                    )


def _class_names(feature: Any) -> list[str]:
    """Return the names of a column's classes, or of those in its lists; none where it has numbers or text."""
    return list(getattr(getattr(feature, "feature", feature), "names", None) or [])


def _named(cells: list[Any], names: list[str], column: str, labels: Labels) -> list[Any]:
    declared: Sequence[str] = getattr(labels, "names", ())
    if not declared or labels.columns > 1:  # columns of 0 and 1 are named by themselves, whatever the two are called
        if labels.columns == 1 and labels.prediction != "regression" and len(names) != labels.outputs:
            raise UsageError(
                f"{column} has {len(names)} classes, not {labels.outputs}: {one_line('/'.join(names), 200)}"
            )
        return [None if cell == -1 else cell for cell in cells]

    def name(cell: Any) -> Any:
        if isinstance(cell, list):
            return [name(one) for one in cell]
        return None if cell is None or cell < 0 else names[cell]

    return [name(cell) for cell in cells]
