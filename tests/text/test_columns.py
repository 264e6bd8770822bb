"""Names of columns: found, or suggested as names of methods are."""

from __future__ import annotations

import pytest

from mtlbench.errors import UsageError
from mtlbench.text.columns import find_columns
from mtlbench.text.labels import Classes


@pytest.mark.parametrize(("written", "meant"), [("text", "TEXT"), ("star-rating", "Star_Rating")])
def test_case_and_separators_do_not_hide_a_column(written: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"has no column '{written}'; did you mean {meant}\?"):
        find_columns("a.csv", [written], [meant, "label"])


def test_case_does_not_hide_a_class() -> None:
    with pytest.raises(ValueError, match=r"did you mean NEGATIVE\?"):
        Classes(2, ("NEGATIVE", "POSITIVE")).read(("negative",))
