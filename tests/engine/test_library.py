"""The methods on Gram matrices and Jacobians."""

from __future__ import annotations

from typing import Any

import numpy as np
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
