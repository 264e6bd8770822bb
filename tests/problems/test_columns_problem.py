"""A table as a problem: labels, inputs and splits as declared, a step on it, and every bad input in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from problem_steps import check_seeded, check_step, fault_of, new_model

from mtlbench import Data, Problem, UsageError
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.recipe.suite import Recipe

HEADER = "area,rooms,city,price,cheap,kind"
SPEC = "columns[file=homes.csv,predict=price:number/cheap:flag/kind:class"


def make(more: str = "", spec: str = SPEC) -> Problem:
    return load_registry().problem(f"{spec}{more}]")


def rows(count: int = 60) -> list[str]:
    """Rows of which every fifth lacks its rooms, every third its price, and every fourth its kind."""
    random, lines = np.random.default_rng(0), []
    for number in range(count):
        area, city = random.normal(100.0, 20.0), ["rome", "ulm", "bonn"][number % 3]
        room = "" if number % 5 == 0 else str(number % 4 + 1)
        price = "NA" if number % 3 == 0 else f"{area * 10:.1f}"
        kind = "" if number % 4 == 0 else ["flat", "house"][number % 2]
        lines.append(f"{area:.3f},{room},{city},{price},{int(area < 100)},{kind}")
    return lines


def write(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    (folder / "homes.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("homes"), rows())


def joined(data: Data, task: str) -> np.ndarray:
    return np.concatenate([part.labels[task] for part in data.splits.values()])


def test_targets_and_their_kinds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make()
    problem.load(folder)
    kinds = [(target.name, target.prediction, target.outputs) for target in problem.targets()]
    assert kinds == [("price", "regression", 1), ("cheap", "classification", 2), ("kind", "classification", 2)]
    monkeypatch.chdir(folder)
    assert make().targets() == problem.targets()  # also before the rows are loaded


def test_classes_come_from_a_file_in_the_data_folder(folder: Path) -> None:
    recipe = Recipe(problem="columns", tasks=("kind",), steps=1, batch_size=8, lr=1e-3)
    loaded = LoadedProblem(make(), recipe, folder)
    assert [(task.name, task.outputs) for task in loaded.tasks] == [("kind", 2)]


def test_declared_classes_are_known_without_the_file() -> None:
    problem = make(spec="columns[file=none.csv,predict=kind:class:flat|house|hut/Price (EUR):number")
    assert [(target.name, target.outputs) for target in problem.targets()] == [("kind", 3), ("Price_EUR", 1)]
    with pytest.raises(UsageError, match=r"none.csv does not exist in this folder; .* declare the classes of 'kind'"):
        make(spec="columns[file=none.csv,predict=kind:class").targets()


def test_labels_and_missing_ones(folder: Path) -> None:
    data = make(",test=0.2").load(folder)
    assert sum(map(len, data.splits.values())) == 60
    assert np.isnan(joined(data, "price")).sum() == 20 and (joined(data, "kind") == -1).sum() == 15
    assert set(joined(data, "cheap")) == {0, 1} and set(joined(data, "kind")) == {-1, 0, 1}
    for part in data.splits.values():
        area = part.inputs[:, 0]  # standardised: the price is linear in it, and its sign decides what is cheap
        labelled = ~np.isnan(part.labels["price"])
        assert np.corrcoef(area[labelled], part.labels["price"][labelled])[0, 1] > 0.999
        assert (np.diff(part.labels["cheap"][np.argsort(area)]) <= 0).all()


def test_inputs_are_fitted_on_the_training_rows(folder: Path) -> None:
    data = make(",test=0.2").load(folder)
    train = data.train.inputs
    assert train.dtype == np.float32 and train.shape[1] == 1 + 2 + 3  # area; rooms and whether they lack; three cities
    assert abs(train[:, 0].mean()) < 1e-6 and abs(train[:, 0].std() - 1.0) < 1e-6
    absent = train[:, 2] == 1.0
    assert absent.any() and (train[absent, 1] == 0.0).all() and abs(train[~absent, 1].mean()) < 1e-6
    assert (train[:, 3:].sum(axis=1) == 1.0).all()
    assert abs(data.dev.inputs[:, 0].mean()) > 1e-3  # not standardised by its own


def test_numbers_as_categories_and_columns_left_out(folder: Path) -> None:
    data = make(",categories=rooms,ignore=city").load(folder)
    assert data.train.inputs.shape[1] == 1 + 5  # area; rooms from 1 to 4, and a missing number
    assert (data.train.inputs[:, 1:].sum(axis=1) == 1.0).all()


def test_a_category_that_no_training_row_has_is_all_zeros(tmp_path: Path) -> None:
    for line in rows():  # rename the city of one row after another, until it is one for development
        changed = [row.replace(line.split(",")[2], "oslo") if row == line else row for row in rows()]
        inputs = make().load(write(tmp_path, changed)).dev.inputs
        zeros = inputs[:, 3:].sum(axis=1) == 0.0
        if zeros.any():
            assert zeros.sum() == 1 and inputs.shape[1] == 6
            return
    pytest.fail("no row is one for development")


def test_rows_with_the_same_inputs_are_in_one_split(tmp_path: Path) -> None:
    lines = [f"{number % 20},1,rome,{number},{number % 2},flat" for number in range(200)]
    lines[0] = lines[0].replace("flat", "house")
    data = make(",test=0.2").load(write(tmp_path, lines))
    areas = [set(part.inputs[:, 0].tolist()) for part in data.splits.values()]
    assert sum(map(len, areas)) == len(set.union(*areas)) == 20
    assert [len(part) for part in data.splits.values()] == [120, 40, 40]


def test_rows_without_any_target_are_left_out(tmp_path: Path) -> None:
    data = make().load(write(tmp_path, [*rows(), "100,2,rome,,NA,", "99,2,rome,nan,,null"]))
    assert data.source == "file homes.csv, 60 rows"


def test_the_same_rows_in_parquet_compressed_and_with_other_delimiters(folder: Path, tmp_path: Path) -> None:
    expected = make().load(folder)
    text = (folder / "homes.csv").read_text()
    (tmp_path / "homes.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "homes.tsv").write_text(text.replace(",", "\t"))
    (tmp_path / "pipes.csv").write_text(text.replace(",", "|"))
    pd.read_csv(folder / "homes.csv").astype({"cheap": bool}).to_parquet(tmp_path / "homes.parquet")
    for file in ("homes.csv.gz", "homes.tsv", "pipes.csv,delimiter=pipe", "homes.parquet"):
        data = make(spec=SPEC.replace("homes.csv", file)).load(tmp_path)
        for split, part in data.splits.items():
            np.testing.assert_allclose(part.inputs[:, :3], expected.splits[split].inputs[:, :3], atol=1e-6)
            for task, labels in part.labels.items():
                assert np.array_equal(labels, expected.splits[split].labels[task], equal_nan=True)


def test_an_index_without_a_name_is_no_input(folder: Path, tmp_path: Path) -> None:
    pd.read_csv(folder / "homes.csv").to_csv(tmp_path / "homes.csv")
    assert make().load(tmp_path).train.inputs.shape[1] == 6


def test_the_fingerprint_is_the_same_each_time_and_changes_with_the_data(folder: Path, tmp_path: Path) -> None:
    expected = make().load(folder).fingerprint
    assert make().load(folder).fingerprint == make(",width=8").load(folder).fingerprint == expected
    changed = write(tmp_path, [*rows()[:-1], rows()[-1].replace("bonn", "ulm")])
    others = [make().load(changed), make(",test=0.1").load(folder), make(",ignore=rooms").load(folder)]
    assert expected not in {data.fingerprint for data in others}


def test_what_says_where_rows_are_does_not_count_beside_their_content() -> None:
    problem, moved = make(",width=8,dev=0.1"), make(",width=8,delimiter=tab", SPEC.replace("homes", "moved"))
    assert problem.counted_spec == moved.counted_spec == "columns[width=8]"
    assert problem.counted_parameters == moved.counted_parameters == {"width": 8, "layers": 2, "experts": 0}


@pytest.mark.parametrize("trunk", ["", ",layers=1", ",experts=3", ",experts=2,layers=1", ",experts=1,layers=3"])
def test_a_step(folder: Path, trunk: str) -> None:
    problem = make(f",width=16{trunk}")
    check_step(problem, problem.load(folder), ("price", "cheap", "kind"))
    check_step(problem, problem.load(folder), ("price", "kind"), "sum")


def test_weights_depend_on_the_seed(folder: Path) -> None:
    problem = make(",experts=2")
    problem.load(folder)
    check_seeded(problem)


def test_each_task_reads_its_own_average_of_the_experts(folder: Path) -> None:
    import torch

    problem = make(",experts=3,width=8")
    data = problem.load(folder)
    model = new_model(problem, problem.targets())
    inputs = data.train.take(np.arange(10))
    features = model["trunk"](inputs)  # type: ignore[index]
    assert features.shape == (10, 3, 8)
    outputs = problem.outputs(model, inputs, ["price", "kind"])
    for place, task in ((0, "price"), (2, "kind")):
        shares = torch.softmax(model["gates"][str(place)](inputs), dim=1)  # type: ignore[index]
        mixed = torch.stack([shares[row] @ features[row] for row in range(10)])
        torch.testing.assert_close(outputs[task], model["heads"][str(place)](mixed))  # type: ignore[index]


def test_experts_share_nothing(folder: Path) -> None:
    """The features of an expert depend on its own weights alone: a convolution with groups is that many networks."""
    import torch

    problem = make(",experts=3,width=8")
    inputs = problem.load(folder).train.take(np.arange(4))
    trunk = new_model(problem, problem.targets())["trunk"]  # type: ignore[index]
    first, second = trunk[0], trunk[3]
    expert = slice(8, 16)
    hidden = torch.relu(inputs @ first.weight[expert].T + first.bias[expert])
    expected = torch.relu(hidden @ second.weight[expert, :, 0].T + second.bias[expert])
    torch.testing.assert_close(trunk(inputs)[:, 1], expected)


def test_names_of_tasks_that_torch_would_refuse_for_modules(tmp_path: Path) -> None:
    lines = [f"{number},{number % 2},{number % 3}" for number in range(30)]
    write(tmp_path, lines, "x,type,a.b")
    problem = make(spec="columns[file=homes.csv,predict=type:flag/a.b:class")
    check_step(problem, problem.load(tmp_path), ("type", "a.b"))


BAD_FILES = {
    "a number to predict": ("3:110,1,ulm,dear,0,flat", "homes.csv, line 5, column 'price': 'dear' is not a number"),
    "decimal comma": ('3:110,1,ulm,"1,5",0,flat', "column 'price': '1,5' is not a number; write decimals with a point"),
    "infinite": ("3:110,1,ulm,inf,0,flat", "line 5, column 'price': 'inf' is not a number"),
    "a flag": ("7:110,1,ulm,9,yes,flat", "homes.csv, line 9, column 'cheap': 'yes' is neither 0 nor 1"),
    "an input": (
        "2:big,1,ulm,9,0,flat",
        "line 4, column 'area': 'big' is not a number, but line 2 has one; correct it,",
    ),
    "a question mark": (
        "2:110,?,ulm,9,0,flat",
        "column 'rooms': '?' is not a number, .* missing=? if it means a missing",
    ),
    "too large": ("2:1e200,1,ulm,9,0,flat", "line 4, column 'area': '1e200' is too large beside the others"),
    "more fields": ("2:110,1,ulm,9,0,flat,7", "homes.csv, line 4: 7 fields, but the header has 6"),
    "an open quote": ('2:110,1,"ulm,9,0,flat', "homes.csv, line 4: unexpected end of data"),
}


@pytest.mark.parametrize(("change", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_cell_is_named_with_file_line_column_and_value(tmp_path: Path, change: str, reason: str) -> None:
    place, line = change.split(":", 1)
    lines = rows()
    lines[int(place)] = line
    fault = fault_of(make(), write(tmp_path, lines))
    assert all(part in fault for part in reason.split(" .* ")), fault


def test_names_of_columns_that_need_quotes_or_span_lines(tmp_path: Path) -> None:
    """The remedy can be copied into the spec, and the message stays one line."""
    lines = ["big,1,2,3", *(f"{number},{number % 2},{number % 5},{number}" for number in range(30))]
    write(tmp_path, lines, '"size, in\nm2",a/b,c,y')
    fault = fault_of(make(spec="columns[file=homes.csv,predict=y:number"), tmp_path)
    assert "line 3, column 'size, in m2': 'big' is not a number" in fault
    assert 'missing=big if it means a missing value, or categories="size, in m2"' in fault
    write(tmp_path, [f"{number},?,{number}" for number in range(30)] + ["1,2,3"], '"a, b",x/y,z')
    fault = fault_of(make(spec="columns[file=homes.csv,predict=z:number"), tmp_path)
    assert fault.endswith('or categories="x/y"')
    data = make(',categories="x/y"', "columns[file=homes.csv,predict=z:number").load(tmp_path)
    assert data.train.inputs.shape[1] == 3  # a number, and whether it is "?" or "2"


def test_a_marker_of_missing_values_can_be_declared(tmp_path: Path) -> None:
    lines = rows()
    lines[2], lines[3] = "110,?,ulm,9,0,flat", "111,-,ulm,?,0,flat"
    data = make(",missing=?/-").load(write(tmp_path, lines))
    assert np.isnan(joined(data, "price")).sum() == 20


BAD_TABLES = {
    "a class that is not declared": (
        (",predict=kind:class:flat|hut", {}),
        "line 3, column 'kind': 'house' is not one of",
    ),
    "one class": ((",predict=city:class", {"city": "rome"}), "column 'city' has only 'rome'; predict it as a number"),
    "many classes": ((",predict=area:class", {"area": None}), "column 'area' has 200 different values, more than 100"),
    "many categories": ((",categories=area", {"area": None}), "column 'area' has .* categories, more than 100"),
    "an empty column": (("", {"rooms": ""}), "column 'rooms' has no value in any row; leave it out: ignore=rooms"),
    "a missing column": ((",predict=prize:number", {}), "homes.csv has no column 'prize'; did you mean price?"),
    "a missing column to ignore": ((",ignore=citty", {}), "homes.csv has no column 'citty'; did you mean city?"),
    "a category that is no input": ((",categories=town", {}), "categories=town is not an input; they are: area, rooms"),
    "no input": ((",ignore=area/rooms/city", {}), "homes.csv has no column left to predict from"),
    "no label": ((",predict=rooms:number", {"rooms": ""}), "homes.csv has no row with a value to predict"),
}


@pytest.mark.parametrize(("change", "reason"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table(tmp_path: Path, change: tuple[str, dict[str, str | None]], reason: str) -> None:
    parameters, columns = change
    frame = pd.DataFrame([line.split(",") for line in rows(200)], columns=HEADER.split(","))
    for name, value in columns.items():
        frame[name] = [str(number) for number in range(200)] if value is None else value
    frame.to_csv(tmp_path / "homes.csv", index=False)
    spec = SPEC.split(",predict")[0] if ",predict" in parameters else SPEC
    fault = fault_of(make(parameters, spec), tmp_path)
    assert all(part in fault for part in reason.split(" .* ")), fault


def test_bad_files(tmp_path: Path) -> None:
    assert "homes.csv does not exist" in fault_of(make(), tmp_path)
    (tmp_path / "homes.csv").write_text("")
    assert "homes.csv is empty" in fault_of(make(), tmp_path)
    write(tmp_path, rows(6))
    assert "6 rows with 6 different inputs leave 1 to the dev split; 2 are needed" in fault_of(
        make(",dev=0.01"), tmp_path
    )
    (tmp_path / "homes.xlsx").write_text("x")
    fault = fault_of(make(spec=SPEC.replace(".csv", ".xlsx")), tmp_path)
    assert "homes.xlsx is of an unknown type; give a file that ends with .csv" in fault
    (tmp_path / "homes.parquet").write_text("x")
    assert "homes.parquet cannot be read" in fault_of(make(spec=SPEC.replace(".csv", ".parquet")), tmp_path)
    write(tmp_path, rows(), HEADER.replace("rooms", "area"))
    assert "more than one column 'area'" in fault_of(make(), tmp_path)
    dates = pd.DataFrame(
        {"when": pd.date_range("2020-01-01", periods=9), "lists": [[n] for n in range(9)], "y": range(9)}
    )
    for name, cell in (("when", "datetime.datetime(2020"), ("lists", "[0]")):
        dates[[name, "y"]].to_parquet(tmp_path / "homes.parquet")
        fault = fault_of(make(spec="columns[file=homes.parquet,predict=y:number"), tmp_path)
        assert f"homes.parquet, row 1, column '{name}': " in fault and cell in fault
        assert fault.endswith(f"is not text; leave the column out: ignore={name}")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("predict=price", "predict=price should be COLUMN:number, COLUMN:flag, COLUMN:class or COLUMN:class:A|B"),
        ("predict=price:real", "predict=price:real should be COLUMN:number"),
        ("predict=kind:class:a", "predict=kind:class:a should name two or more different classes"),
        ("predict=kind:class:a|b|a", "predict=kind:class:a|b|a should name two or more different classes"),
        ("predict=price:number/price:flag", "predict=price:number/price:flag names a task twice"),
        ("predict=a b:number/a_b:flag", "predict=a b:number/a_b:flag names a task twice"),
        ("predict=price:number,ignore=price", "column 'price' is predicted; it cannot be in ignore or categories"),
        ("predict=price:number,dev=0.6", "parameter dev=0.6 should be less than or equal to 0.5"),
        ("predict=price:number,delimiter=ab", "parameter delimiter=ab should be one character, or tab"),
        ("predict=price:number,expert=2", "unknown parameter of problem columns: 'expert'; did you mean experts?"),
    ],
)
def test_bad_parameters(parameters: str, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        make(spec=f"columns[file=homes.csv,{parameters}")
    assert reason in str(raised.value)


def test_a_model_needs_the_rows() -> None:
    problem = make(spec="columns[file=homes.csv,predict=price:number")
    with pytest.raises(UsageError, match="load the rows before the model"):
        problem.model(problem.targets())
