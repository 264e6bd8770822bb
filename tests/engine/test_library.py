"""The methods on Gram matrices and Jacobians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from library_cases import EYE, Between, Biggest, Named, Signs, Toy, fault

import mtlbench
from mtlbench import UsageError, aggregate, backward, get_method, weights
from mtlbench.contract.method_input import observe
from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import CellError

GRAM = np.array([[4.0, -1.0], [-1.0, 2.0]])


def test_weights_and_aggregate_agree() -> None:
    rows = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    assert aggregate("pcgrad", rows).tolist() == (weights("pcgrad", rows @ rows.T) @ rows).tolist()
    assert aggregate("pcgrad", rows.tolist()).tolist() == aggregate("pcgrad", rows).tolist()


def test_parameters_by_name_and_by_spec() -> None:
    rows = np.array([[-4.0, 1.0], [6.0, 1.0]])
    by_name = aggregate("cagrad", rows, c=0.2).tolist()
    assert by_name == aggregate("cagrad[c=0.2]", rows).tolist() == aggregate(get_method("cagrad", c=0.2), rows).tolist()
    assert by_name != aggregate("cagrad", rows).tolist()
    assert get_method("cagrad[c=0.2]", rescale="c2").parameters == {"c": 0.2, "rescale": "c2", "reduction": "mean"}


def test_losses_reach_the_methods_that_read_them() -> None:
    assert weights("mgda[normalize=loss]", GRAM, losses=[1.0, 4.0]).tolist() != weights("mgda", GRAM).tolist()


def test_a_single_precision_gram_matrix_is_accepted() -> None:
    torch.manual_seed(0)
    rows = torch.randn(6, 1000)
    assert np.isfinite(weights("mgda", (rows @ rows.T).numpy())).all()


def test_rounding_of_orthogonal_gradients_is_no_asymmetry() -> None:
    """Sums taken in another order differ by the rounding of the norms, however small the inner product is."""
    assert weights("sum", np.array([[1.0, 1e-9], [-2e-9, 1.0]])).tolist() == [1.0, 1.0]


def test_public_names_are_there() -> None:
    for name in ("weights", "aggregate", "get_method", "backward", "Method", "Observation", "UsageError"):
        assert hasattr(mtlbench, name)


REFUSED: list[tuple[str, Named, dict[str, Any], str]] = [
    ("wide", Named(), {"gram": np.ones((2, 3))}, "gram must be a K × K matrix, got shape (2, 3)"),
    ("flat", Named(), {"gram": np.ones(4)}, "gram must be a K × K matrix, got shape (4,)"),
    ("cube", Named(), {"gram": np.ones((2, 2, 2))}, "gram must be a K × K matrix, got shape (2, 2, 2)"),
    ("empty", Named(), {"gram": np.ones((0, 0))}, "needs at least 1 tasks, got 0"),
    ("no losses", Named("losses", "any"), {"losses": []}, "needs at least 1 tasks, got 0"),
    ("nan", Named(), {"gram": [[1.0, np.nan], [np.nan, 1.0]]}, "gram must be finite, got [[1.0, nan], [nan, 1.0]]"),
    ("inf", Named(), {"gram": [[np.inf, 0.0], [0.0, 1.0]]}, "gram must be finite, got [[inf, 0.0], [0.0, 1.0]]"),
    ("negative", Named(), {"gram": [[1.0, 0.0], [0.0, -2.0]]}, "gram has a negative diagonal, [1.0, -2.0]"),
    (
        "asymmetric",
        Named(),
        {"gram": [[1.0, 0.5], [0.1, 1.0]]},
        "gram must be symmetric (to 1e-05 of the norms): [[1.0, 0.5], [0.1, 1.0]]",
    ),
    (
        "too long",
        Named(),
        {"gram": [[1.0, 3.0], [3.0, 4.0]]},
        "gram has |⟨gᵢ, gⱼ⟩| > ‖gᵢ‖‖gⱼ‖: no inner products: [[1.0, 3.0], [3.0, 4.0]]",
    ),
    (
        "product with a zero",
        Named(),
        {"gram": [[0.0, 1e-9], [1e-9, 4.0]]},
        "gram has |⟨gᵢ, gⱼ⟩| > ‖gᵢ‖‖gⱼ‖: no inner products: [[0.0, 1e-09], [1e-09, 4.0]]",
    ),
    ("gram missing", Named(), {"losses": [1.0]}, "reads the Gram matrix of the task gradients: give gram"),
    ("losses missing", Named("gram", "any"), {"gram": EYE}, "reads the losses: give losses"),
    (
        "cross missing",
        Named("cross_gram"),
        {"gram": EYE},
        "reads the inner products between two batches' task gradients: give cross_gram",
    ),
    ("gradients missing", Named("gradients"), {"gram": EYE}, "reads the task gradients themselves: give gradients"),
    (
        "cross wide",
        Named("cross_gram"),
        {"cross_gram": np.ones((1, 2))},
        "cross_gram must be a K × K matrix, got shape (1, 2)",
    ),
    ("cross nan", Named("cross_gram"), {"cross_gram": [[np.nan]]}, "cross_gram must be finite, got [[nan]]"),
    ("few", Named(least=2), {"gram": [[1.0]]}, "needs at least 2 tasks, got 1"),
    ("nan loss", Named(), {"gram": EYE, "losses": [1.0, np.nan]}, "losses must be K finite numbers, got [1.0, nan]"),
    ("2d losses", Named(), {"gram": EYE, "losses": [[1.0, 2.0]]}, "losses must be K finite numbers, got [[1.0, 2.0]]"),
    ("sizes", Named(), {"gram": EYE, "losses": [1.0]}, "the number of tasks differs: {'losses': 1, 'gram': 2}"),
    (
        "log of -2",
        Named("losses", "positive"),
        {"losses": [-2.0]},
        "takes logarithms of the losses, so none may be negative: [-2.0]",
    ),
]


@pytest.mark.parametrize(("method", "given", "words"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_an_observation_that_cannot_be_names_method_and_value(method: Named, given: dict[str, Any], words: str) -> None:
    message = fault(observe, method, **given)
    assert message.startswith("method M") and message.endswith(words)


def test_losses_that_are_not_read_need_not_be_positive_and_may_be_missing() -> None:
    assert observe(Named(), gram=EYE).tasks == 2
    assert observe(Named("gram", "any"), gram=EYE, losses=[-1.0, 0.0]).losses.tolist() == [-1.0, 0.0]


def test_a_gram_matrix_is_made_symmetric_and_double() -> None:
    seen = observe(Named(), gram=np.array([[1.0, 1e-7], [0.0, 1.0]], dtype=np.float32))
    assert seen.gram.dtype == np.float64 and seen.gram[0, 1] == seen.gram[1, 0] > 0.0


def test_what_was_not_given_is_an_error_and_not_none() -> None:
    seen = observe(Named(), gram=EYE)
    for name in ("losses", "cross_gram", "gradients"):
        with pytest.raises(UsageError, match=f"{name} were not given; declare what the method reads"):
            getattr(seen, name)
    assert seen.replace(losses=np.ones(2)).losses.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("bad", [[1.0], [1.0, 2.0, 3.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_losses_that_do_not_fit(bad: Any) -> None:
    assert fault(weights, "mgda", GRAM, losses=bad).startswith("method mgda: ")


def test_weights_without_anything() -> None:
    assert fault(weights, "sum") == "method sum: give gram or losses, so that there are K tasks"


def test_a_jacobian_that_is_no_matrix() -> None:
    assert fault(aggregate, "sum", np.ones(3)) == "jacobian must be a K × P matrix, not of shape (3,)"


def test_a_jacobian_with_nan() -> None:
    assert fault(aggregate, "sum", np.array([[np.nan, 1.0]])) == "jacobian must be finite, got [[nan, 1.0]]"


@pytest.mark.parametrize(
    "call",
    [
        lambda: weights("pcgard", GRAM),
        lambda: aggregate("pcgard", GRAM),
        lambda: get_method("pcgard"),
        lambda: backward(Toy().losses(), "pcgard", Toy().trunk),
    ],
)
def test_an_unknown_method_is_met_with_a_suggestion(call: Any) -> None:
    assert "unknown method 'pcgard'; did you mean pcgrad" in fault(call)


def test_parameters_that_are_wrong() -> None:
    assert "c=2" in fault(get_method, "cagrad", c=2)
    assert "did you mean rescale" in fault(get_method, "cagrad", rescal="c2")


def test_aggregate_of_methods_that_read_gradients() -> None:
    rows = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, 0.5]])
    assert aggregate(Biggest(), rows).tolist() == [1.0, 5.0, 3.0]
    assert aggregate(Signs(), rows) == pytest.approx(np.array([2, 2]) / 3 @ rows)
    assert rows.tolist() == [[1.0, -2.0, 3.0], [-4.0, 5.0, 0.5]]


def test_weights_of_a_method_that_reads_gradients() -> None:
    assert fault(weights, Signs(), GRAM) == ("method signs reads whole gradients, not inner products: use aggregate")


def test_bad_weights_name_the_method() -> None:
    class Bad(Named):
        def weights(self, seen: Observation) -> Vector:
            return np.full(seen.tasks, np.nan)

    for function in (weights, aggregate):
        with pytest.raises(CellError, match=r"method M returned weights \[nan, nan\], not 2 finite numbers"):
            function(Bad(), EYE)


def test_aggregate_and_weights_with_further_batches() -> None:
    random = np.random.default_rng(0)
    rows, one, other = random.normal(size=(3, 2, 5))
    method = Between()
    actual = aggregate(method, rows, further=(one, other))
    assert method.seen == pytest.approx(one @ other.T)
    assert actual == pytest.approx(np.diagonal(one @ other.T) @ rows)
    assert weights(method, cross_gram=one @ other.T) == pytest.approx(np.diagonal(one @ other.T))
    assert "give cross_gram" in fault(aggregate, method, rows)
    wrong = fault(aggregate, method, rows, further=(one, other[:, :4]))
    assert wrong == "further must be two matrices of the jacobian's shape (2, 5), not of shape (2, 4)"


LEAF = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], requires_grad=True)


@pytest.mark.parametrize(
    "kind",
    [
        lambda rows: rows * 1.0,
        lambda rows: rows.bfloat16(),
        lambda rows: rows.half(),
        lambda rows: rows.to_sparse(),
        lambda rows: list(rows),
        lambda rows: [list(row) for row in rows],
        lambda rows: tuple(row.detach().numpy() for row in rows),
        lambda rows: pd.DataFrame(rows.detach().numpy()),
        lambda rows: np.ma.array(rows.detach().numpy()),
        lambda rows: rows.detach().numpy().astype(object),
    ],
)
def test_numbers_of_every_kind_give_the_same_answer(kind: Any) -> None:
    rows, given = LEAF.detach().double().numpy(), kind(LEAF)
    assert aggregate("pcgrad", given).tolist() == [0.5, 1.5]
    assert weights("pcgrad", kind(LEAF @ LEAF.T)).tolist() == [2.0, 1.5]
    assert aggregate("trimmed-mean", given, trim=0).tolist() == [0.0, 0.5]
    for name in ("modo", "sdmgrad"):
        assert weights(name, cross_gram=given).tolist() == weights(name, cross_gram=rows).tolist()
        expected = aggregate(name, rows, further=(rows, rows))
        assert aggregate(name, given, further=(given, given)).tolist() == expected.tolist()


def test_a_list_of_losses_with_a_graph_keeps_it() -> None:
    losses = [LEAF.sum(), (LEAF**2).sum()]
    assert weights("si", losses=losses).tolist() == [1.0, 1.0 / 3.0]
    losses[1].backward()
    assert LEAF.grad is not None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: weights("pcgrad", [[1.0, None], [0.0, 1.0]]), "method pcgrad: gram[0][1] is None, not a number"),
        (lambda: weights("si", losses={"a": 1.0}), "method si: losses is a dict; give a list of its values, in the"),
        (
            lambda: weights("modo", cross_gram=np.eye(2) * 1j),
            "method modo: cross_gram is of type complex128; give real",
        ),
        (lambda: weights("pcgrad", "gram.npy"), "method pcgrad: gram is the text 'gram.npy', not a number"),
        (lambda: weights("pcgrad", 3.0), "method pcgrad: gram must be a K × K matrix, got shape ()"),
        (lambda: weights("pcgrad", np.eye(2) * 1.5e308), "method pcgrad: gram is close to the largest number; scale"),
        (
            lambda: aggregate("pcgrad", [[1.0, 2.0], [3.0]]),
            "jacobian is ragged: its items have the shapes (2,) and (1,)",
        ),
        (lambda: aggregate("pcgrad", None), "jacobian is None, not a number"),
        (lambda: aggregate("pcgrad", [[0.0], [1e-170], [1.0]]), "jacobian: row 1 is so short that its square vanishes"),
        (lambda: aggregate("pcgrad", np.eye(2) * 1e200), "jacobian: the inner products of its rows overflow double"),
        (
            lambda: aggregate("pcgrad", np.full((2, 10_000), np.nan)),
            "jacobian must be finite, got an array of shape (2, ",
        ),
        (
            lambda: aggregate("modo", EYE),
            "method modo reads the inner products between two batches' task gradients: gi",
        ),
        (
            lambda: aggregate("modo", EYE, further=EYE[0, 0]),
            "further must be two matrices of the jacobian's shape (2, 2)",
        ),
        (lambda: aggregate("modo", EYE, further=(EYE,)), "further must be two matrices of the jacobian's shape (2, 2)"),
        (lambda: aggregate("modo", EYE, further=(EYE, [[1.0, "2"], [3.0, 4.0]])), "further[0][1] is the text '2', not"),
    ],
)
def test_what_is_not_a_number_is_one_short_line(call: Any, words: str) -> None:
    message = fault(call)
    assert message.startswith(words) and len(message) < 200


def test_products_rounded_to_half_precision_are_named_as_such() -> None:
    gram = torch.tensor([[1.0, 1.0], [1.0, 0.998]]).bfloat16()  # of two parallel gradients: 0.998 is rounded to 0.996
    assert "no inner products; compute the products in float32 or float64" in fault(weights, "mgda", gram)
    gram[1, 0] *= 0.5
    assert "float32" not in fault(weights, "mgda", gram)


@pytest.mark.parametrize("function", [get_method, lambda method: weights(method, EYE)])
@pytest.mark.parametrize(
    ("method", "words"),
    [
        (None, "a method is given by name, or as an object from get_method, not as None"),
        (3, "a method is given by name, or as an object from get_method, not as 3"),
        (len, "a method is given by name, or as an object from get_method, not as <built-in function len>"),
        (b"sum", "a method is given by name, or as an object from get_method, not as b'sum'"),
        (["sum"], "a method is given by name, or as an object from get_method, not as ['sum']"),
        (Biggest, "Biggest is the class of method biggest: give an object, Biggest()"),
        (mtlbench.Method, "Method is the class of method Method: give an object, Method()"),
        ("", "cannot read ''; write NAME or NAME[parameter=value,...]"),
        ("sum\nmean", "unknown method 'sum mean'; did you mean mean?"),
    ],
)
def test_what_is_not_a_method_is_one_line(function: Any, method: Any, words: str) -> None:
    assert fault(function, method).startswith(words)


def test_a_method_object_has_its_own_name_seed_and_parameters() -> None:
    method = get_method("pcgrad")
    assert "pcgrad is already a method: use it as it is" in fault(get_method, method)
    assert "pcgrad is already a method: pass its parameters to get_method" in fault(weights, method, EYE, c=0.2)
    assert "pcgrad is already a method: pass the seed to get_method" in fault(weights, method, EYE, seed=3)
    assert fault(aggregate, Biggest, EYE).startswith("Biggest is the class of method biggest")


@pytest.mark.parametrize("seed", [True, np.bool_(False), 1.0, np.float64(2.0), None, "3", torch.tensor(3), [1]])
def test_a_seed_of_another_type_is_one_line(seed: Any) -> None:
    words = "method rlw: the seed must be a whole number, not "
    assert fault(get_method, "rlw", seed=seed).startswith(words)
    assert fault(weights, "rlw", losses=[1.0, 2.0], seed=seed).startswith(words)


def test_whole_numbers_of_any_kind_and_size_are_seeds() -> None:
    draws = [weights("rlw", losses=[1.0, 2.0], seed=seed).tolist() for seed in (-1, 2**200, 7)]
    assert draws[0] != draws[1] != draws[2]
    assert weights("rlw", losses=[1.0, 2.0], seed=np.int64(7)).tolist() == draws[2]  # type: ignore[arg-type]
    assert fault(get_method, "rlw", seed=10**5000) == "method rlw: the seed has more than 4096 bits; give a smaller one"


@pytest.mark.parametrize("value", [np.float64(0.25), np.float32(0.25), np.array(0.25), torch.tensor(0.25), "0.25"])
def test_parameters_may_be_scalars_of_any_kind(value: Any) -> None:
    method = get_method("cagrad", c=value)
    assert type(method.parameters["c"]) is float and method.spec == "cagrad[c=0.25]"
    assert get_method("stch", warmup=np.int64(3)).spec == "stch[warmup=3]"


@pytest.mark.parametrize("value", [True, np.bool_(True), np.ones((2, 2)), None, [0.5], torch.ones(2), 1j])
def test_parameters_of_another_type_are_one_line(value: Any) -> None:
    assert fault(get_method, "stch", mu=value).startswith("method stch: parameter mu=")
