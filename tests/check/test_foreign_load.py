"""Loading foreign code: every shape is recognised, and what cannot be loaded or called is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mtlbench.check.foreign.load import load
from mtlbench.check.foreign.shapes import recognise, task_numbers
from mtlbench.errors import UsageError

FILE = str(Path(__file__).with_name("foreign_code.py"))


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (f"{FILE}:pcgrad", "takes a list of K gradients, gives P numbers"),
        (f"{FILE}:pcgrad_of_tensor", "takes a K × P tensor of gradients, gives P numbers"),
        (f"{FILE}:pcgrad_weights", "takes a list of K gradients, gives K weights"),
        (f"{FILE}:Momentum[beta=0.1]", "takes a list of K gradients, gives P numbers"),
        (f"{FILE}:momentum", "takes a list of K gradients, gives P numbers"),
        (f"{FILE}:as_numpy", "takes a list of K gradients, gives P numbers"),
        ("torchjd.aggregation:MGDA", "takes a K × P tensor of gradients, gives P numbers"),
        ("torchjd.aggregation:MGDAWeighting", "takes the K × K inner products of the gradients, gives K weights"),
        ("torchjd.aggregation:MeanWeighting", "takes a K × P tensor of gradients, gives K weights"),
        (f"{FILE}:Wrapper", "pc_backward takes a list of K losses"),
        (f"{FILE}:Backward", "backward takes a list of K losses"),
    ],
)
def test_shapes(spec: str, shape: str) -> None:
    assert str(recognise(load(spec))[0]).startswith(shape)


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        (f"{FILE}:pcgrad", (1, 8)),
        (f"{FILE}:FourOnly", (4, 4)),
        ("torchjd.aggregation:Krum[n_byzantine=1]", (4, 8)),
        ("torchjd.aggregation:Constant[weights=1/2]", (2, 2)),
    ],
)
def test_accepted_numbers_of_tasks(spec: str, numbers: tuple[int, int]) -> None:
    assert task_numbers(recognise(load(spec))[1]) == numbers


def test_arguments() -> None:
    assert load(f"{FILE}:Momentum[beta=0.25,scale=min]").arguments == {"beta": 0.25, "scale": "min"}
    assert load(f"{FILE}:Momentum[beta=true]").arguments == {"beta": True}
    weights = load("torchjd.aggregation:Constant[weights=1/2/3]").arguments["weights"]
    assert isinstance(weights, torch.Tensor) and weights.tolist() == [1.0, 2.0, 3.0]
    assert load(f"{FILE}:Momentum[beta=1/2]").arguments == {"beta": [1, 2]}


def test_a_module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_code.py").write_text("class Inner:\n    def f(gradients):\n        return sum(gradients)\n")
    monkeypatch.chdir(tmp_path)
    assert str(recognise(load("their_code:Inner.f"))[0]) == "takes a list of K gradients, gives P numbers"


def test_objects_are_new_for_every_run() -> None:
    make = recognise(load(f"{FILE}:momentum"))[1]
    first, second = make(), make()
    rows, ones = torch.eye(3, 11, dtype=torch.float64), torch.ones(3)
    first(rows, ones)
    assert second.target.last is None and first.target.last is not None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "write --foreign module:Class"),
        (":PCGrad", "write --foreign module:Class"),
        ("no.such.module:PCGrad", "module no.such.module cannot be imported: ModuleNotFoundError"),
        ("missing.py:PCGrad", "foreign file missing.py does not exist"),
        (f"{FILE}:PCgrad", "has no PCgrad; did you mean pcgrad?"),
        ("torchjd.aggregation:CAGrad(c=0.5)", "square brackets, as in Class[c=0.5]"),
        ("torchjd.aggregation:CAGrad[d=0.5]", "unknown parameter of CAGrad: 'd'"),
        ("torchjd.aggregation:CAGrad", "the constructor raised TypeError"),
        ("torchjd.aggregation:CAGrad[c=-1]", "the constructor raised ValueError: c must be non-negative"),
        (f"{FILE}:pcgrad[c=1]", "is not a class, so it takes no parameters"),
        (f"{FILE}:Broken", "the constructor raised OSError: no licence"),
        (f"{FILE}:NotCallable", "has no shape that can be checked; supported: a wrapper of a torch optimizer"),
        (f"{FILE}:NUMBER", "has no shape that can be checked; supported: a wrapper of a torch optimizer"),
        (f"{FILE}:raises", "called with 3 gradients: RuntimeError: no such luck; supported:"),
        (f"{FILE}:exits", "called with 3 gradients: RuntimeError: exits the program: SystemExit(3); supported:"),
        (f"{FILE}:scalar", "called with 3 gradients: ValueError: returned shape () for 3 gradients of 11 numbers"),
        (f"{FILE}:nothing", "returned NoneType, which is no tensor"),
        (f"{FILE}:Reduced", "Reduced: the constructor raised TypeError: Reduced.__init__() missing"),
        (f"{FILE}:Reduced[reduktion=sum]", "unknown parameter of Reduced: 'reduktion'; did you mean reduction?"),
        (f"{FILE}:RaisingWrapper", "pc_backward raised KeyError: 'shared'"),
        (f"{FILE}:ForgetfulWrapper", "leaves the .grad of a parameter that every loss reaches at None"),
    ],
)
def test_bad_input_is_one_line(mtlbench: Callable[..., Any], spec: str, message: str) -> None:
    result = mtlbench("check", "--foreign", spec, "--matrices", "3")
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1, result.stderr


def test_a_module_that_fails_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, code in (
        ("exits_here", "raise SystemExit(3)"),
        ("fails_here", "1 / 0"),
        ("needs_more", "import no_such"),
    ):
        (tmp_path / f"{name}.py").write_text(code + "\n")
        with pytest.raises(UsageError, match=f"module {name} cannot be imported"):
            load(f"{name}:PCGrad")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "pcgrad"], "give --foreign module:Class, too"),
        (["sum", "--foreign", "torchjd.aggregation:Sum"], "leave out method names"),
        (["--all", "--foreign", "torchjd.aggregation:Sum"], "leave out method names"),
    ],
)
def test_options_that_do_not_fit(mtlbench: Callable[..., Any], arguments: list[str], message: str) -> None:
    result = mtlbench("check", *arguments)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
