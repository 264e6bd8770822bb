"""The methods as a library: on matrices, and in a training loop of one's own."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

import mtlbench
from mtlbench import TaskGradients, UsageError, aggregate, autograd, backward, get_method, weights
from mtlbench.contract.method import Matrix, Method, Observation, Parameters, Reads, Vector
from mtlbench.contract.observation import observe
from mtlbench.engine.step import NotFinite
from mtlbench.errors import CellError

TASKS = 3
GRAM = np.array([[4.0, -1.0], [-1.0, 2.0]])


class Toy(nn.Module):
    """A trunk of two layers and three heads, in float64. The losses share one graph of the trunk."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(TASKS))
        self.inputs, self.targets = torch.randn(12, 5), torch.randn(12, TASKS)
        self.double()
        self.inputs, self.targets = self.inputs.double(), self.targets.double()

    def losses(self) -> list[torch.Tensor]:
        features = self.trunk(self.inputs)
        return [
            ((head(features)[:, 0] - target) ** 2).mean() * 3.0**task
            for task, (head, target) in enumerate(zip(self.heads, self.targets.T, strict=True))
        ]

    @property
    def shared(self) -> list[nn.Parameter]:
        return list(self.trunk.parameters())

    def jacobian(self) -> Matrix:
        losses = self.losses()
        return np.stack([flat(torch.autograd.grad(loss, self.shared, retain_graph=True)) for loss in losses])

    def update(self) -> Matrix:
        return flat([parameter.grad for parameter in self.shared])

    def head_update(self, task: int) -> Matrix:
        return flat([parameter.grad for parameter in self.heads[task].parameters()])

    def head_gradient(self, task: int) -> Matrix:
        return flat(torch.autograd.grad(self.losses()[task], list(self.heads[task].parameters())))


def flat(tensors: Sequence[torch.Tensor | None]) -> Matrix:
    return torch.cat([tensor.detach().flatten() for tensor in tensors if tensor is not None]).numpy()


def weighted(*given: Any, **options: Any) -> Vector:
    found = backward(*given, **options)
    assert found is not None
    return found


def fault(function: Any, *given: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        function(*given, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# backward


def test_backward_of_sum_is_that_of_torch() -> None:
    ours, theirs = Toy(), Toy()
    assert weighted(ours.losses(), "sum", ours.trunk).tolist() == [1.0] * TASKS
    torch.autograd.backward(torch.stack(theirs.losses()).sum())
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name", ["pcgrad", "mgda", "cagrad"])
def test_backward_is_aggregate_on_the_jacobian(name: str) -> None:
    toy = Toy()
    losses = [float(loss.detach()) for loss in toy.losses()]
    rows = toy.jacobian()
    assert (rows @ rows.T).min() < 0.0  # or PCGrad would be the sum
    used = weighted(toy.losses(), name, toy.trunk)
    assert toy.update() == pytest.approx(aggregate(name, rows, losses=losses), rel=1e-9, abs=1e-14)
    assert used == pytest.approx(weights(name, rows @ rows.T, losses=losses), rel=1e-9)


def test_heads_get_their_own_plain_gradients() -> None:
    toy = Toy()
    used = weighted(toy.losses(), "pcgrad", toy.trunk)
    assert np.abs(used - 1.0).max() > 1e-3
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(toy.head_gradient(task), rel=1e-12)


def test_heads_of_gradnorm_get_weighted_gradients() -> None:
    toy, method = Toy(), get_method("gradnorm")
    used = np.ones(TASKS)
    for _ in range(3):
        toy.zero_grad()
        used = weighted(toy.losses(), method, toy.trunk, last_shared_layer=toy.trunk[2])
    assert np.abs(used - 1.0).max() > 1e-3
    assert toy.update() == pytest.approx(used @ toy.jacobian(), rel=1e-10, abs=1e-14)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(used[task] * toy.head_gradient(task), rel=1e-12)


def test_gradnorm_balances_the_layer_that_it_was_given() -> None:
    """Two of its steps in one's own loop are those on the Gram matrix of the layer's gradients."""
    toy, method, by_hand = Toy(), get_method("gradnorm"), get_method("gradnorm")
    layer = list(toy.trunk[2].parameters())
    losses = toy.losses()
    rows = np.stack([flat(torch.autograd.grad(loss, layer, retain_graph=True)) for loss in losses])
    for _ in range(3):
        used = weighted(toy.losses(), method, toy.trunk, last_shared_layer=layer)
        wanted = weights(by_hand, rows @ rows.T, losses=[float(loss.detach()) for loss in losses])
        assert used == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("name", ["sum", "pcgrad"])
def test_gradients_are_added_to_what_is_there(name: str) -> None:
    once, twice = Toy(), Toy()
    backward(once.losses(), name, once.trunk)
    for parameter in twice.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    backward(twice.losses(), name, twice.trunk)
    for one, two in zip(once.parameters(), twice.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None
        torch.testing.assert_close(two.grad, one.grad + 2.0)


def test_two_calls_add_up_and_zeroing_starts_again() -> None:
    toy = Toy()
    backward(toy.losses(), "sum", toy.trunk)
    first = toy.update()
    backward(toy.losses(), "sum", toy.trunk)
    assert toy.update() == pytest.approx(2.0 * first, rel=1e-13)
    toy.zero_grad(set_to_none=False)
    backward(toy.losses(), "sum", toy.trunk)
    assert toy.update() == pytest.approx(first, rel=1e-13)


def test_shared_is_a_module_or_a_list() -> None:
    found = []
    for given in ("module", "list"):
        toy = Toy()
        backward(toy.losses(), "mgda", toy.trunk if given == "module" else toy.shared)
        found.append(toy.update().tolist())
    assert found[0] == found[1]


def test_frozen_parameters_are_left_alone() -> None:
    toy = Toy()
    for parameter in toy.trunk[0].parameters():
        parameter.requires_grad_(False)
    backward(toy.losses(), "mgda", toy.trunk)
    assert all(parameter.grad is None for parameter in toy.trunk[0].parameters())
    assert all(parameter.grad is not None for parameter in toy.trunk[2].parameters())


def test_losses_of_separate_forwards_work_too() -> None:
    together, apart = Toy(), Toy()
    backward(together.losses(), "cagrad", together.trunk)
    backward([apart.losses()[task] for task in range(TASKS)], "cagrad", apart.trunk)
    assert apart.update() == pytest.approx(together.update(), rel=1e-12)


def test_an_optimizer_trains_with_it() -> None:
    toy = Toy()
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.02)
    before = [float(loss.detach()) for loss in toy.losses()]
    for _ in range(60):
        optimizer.zero_grad()
        backward(toy.losses(), "mgda", toy.trunk)
        optimizer.step()
    assert all(after < start for after, start in zip([float(x.detach()) for x in toy.losses()], before, strict=True))


# State of methods given by name


def step_gradnorm(toy: Toy) -> Matrix:
    return weighted(toy.losses(), "gradnorm", toy.trunk, last_shared_layer=toy.trunk[2])


def test_state_of_a_name_is_kept_with_the_model() -> None:
    toy, method = Toy(), get_method("gradnorm")
    by_name = [step_gradnorm(toy).tolist() for _ in range(4)]
    other = Toy()
    by_object = [
        weighted(other.losses(), method, other.trunk, last_shared_layer=other.trunk[2]).tolist() for _ in range(4)
    ]
    assert by_name == by_object and by_name[0] != by_name[1]


def test_two_models_do_not_share_state() -> None:
    one, other = Toy(), Toy(seed=1)
    for _ in range(3):
        step_gradnorm(one)
    assert step_gradnorm(other).tolist() == [1.0] * TASKS
    assert step_gradnorm(one).tolist() != [1.0] * TASKS


def test_two_specs_on_one_model_do_not_share_state() -> None:
    toy = Toy()
    step_gradnorm(toy)
    used = weighted(toy.losses(), "gradnorm[alpha=0.5]", toy.trunk, last_shared_layer=toy.trunk[2])
    assert used.tolist() == [1.0] * TASKS


def test_state_goes_with_the_model() -> None:
    toy = Toy()
    step_gradnorm(toy)
    gc.collect()
    kept = len(autograd._METHODS_OF)
    del toy
    gc.collect()
    assert len(autograd._METHODS_OF) == kept - 1


# On matrices


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


# Errors, each one line


@dataclass
class Named(Method):
    """A method named M that declares what a test asks for, and weights everything by 1."""

    name = "M"
    reads: Reads = "gram"  # type: ignore[misc]
    losses: Literal["no", "any", "positive"] = "no"
    least: int = 1

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return self.losses

    @property
    def min_tasks(self) -> int:
        return self.least

    def weights(self, seen: Observation) -> Vector:
        return np.ones(seen.tasks)


EYE = np.eye(2)
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


def test_no_losses() -> None:
    assert "at least one loss" in fault(backward, [], "sum", Toy().trunk)


def test_nothing_shared() -> None:
    toy = Toy()
    assert "shared parameter" in fault(backward, toy.losses(), "sum", [])
    assert "shared parameter" in fault(backward, toy.losses(), "sum", nn.Tanh())


def test_gradnorm_without_its_layer() -> None:
    toy = Toy()
    assert "last_shared_layer" in fault(backward, toy.losses(), "gradnorm", toy.trunk)
    assert all(parameter.grad is None for parameter in toy.parameters())
    backward(toy.losses(), "gradnorm[parameters_of=shared]", toy.trunk)


def test_gradnorm_with_a_layer_that_is_not_shared() -> None:
    toy = Toy()
    assert "last_shared_layer" in fault(backward, toy.losses(), "gradnorm", toy.trunk, last_shared_layer=toy.heads[0])


def test_a_parameter_of_two_losses_that_is_not_shared() -> None:
    toy = Toy()
    message = fault(backward, toy.losses(), "sum", toy.trunk[2])
    assert "losses 0 and 1" in message and "(6, 5)" in message and "add it to shared" in message
    assert all(parameter.grad is None for parameter in toy.parameters())


@pytest.mark.parametrize("name", ["sum", "pcgrad"])
def test_a_loss_that_is_nan_is_refused(name: str) -> None:
    toy = Toy()
    losses = toy.losses()
    losses[1] = losses[1] * torch.nan
    with pytest.raises(NotFinite, match="loss of task 1 is nan"):
        backward(losses, name, toy.trunk)
    assert all(parameter.grad is None for parameter in toy.trunk.parameters())


# Methods that read more than inner products, or return more than weights


@dataclass
class Biggest(Method):
    """Returns, in every coordinate, the largest gradient; ``change`` spoils it."""

    name = "biggest"
    reads: ClassVar[Reads] = "gradients"
    returns: ClassVar[Literal["weights", "update"]] = "update"
    change: Any = None

    def update(self, seen: Observation) -> torch.Tensor:
        found = seen.gradients.max(dim=0).values
        return found if self.change is None else self.change(found)


@dataclass
class Signs(Method):
    """Weights a task by the share of its positive coordinates: no inner product says that."""

    name = "signs"
    reads: ClassVar[Reads] = "gradients"

    def weights(self, seen: Observation) -> Vector:
        return np.asarray((seen.gradients > 0.0).double().mean(dim=1).numpy())


@dataclass
class Between(Method):
    """Keeps the products of two further batches, and weights by their diagonal."""

    name = "between"
    reads: ClassVar[Reads] = "cross_gram"
    seen: Any = field(default=None, init=False)

    def weights(self, seen: Observation) -> Vector:
        self.seen = seen.cross_gram
        return np.diagonal(seen.cross_gram).copy()


@dataclass
class Representation(Method):
    """Weights by the squared norms of the representation's gradients."""

    name = "of-representation"
    seen: Any = field(default=None, init=False)

    @property
    def gram_of(self) -> Parameters:
        return "representation"

    def weights(self, seen: Observation) -> Vector:
        self.seen = seen.gram
        return np.diagonal(seen.gram).copy()


def test_aggregate_of_methods_that_read_gradients() -> None:
    rows = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, 0.5]])
    assert aggregate(Biggest(), rows).tolist() == [1.0, 5.0, 3.0]
    assert aggregate(Signs(), rows) == pytest.approx(np.array([2, 2]) / 3 @ rows)
    assert rows.tolist() == [[1.0, -2.0, 3.0], [-4.0, 5.0, 0.5]]


@pytest.mark.parametrize("method", [Biggest(), Signs()], ids=lambda method: method.name)
def test_backward_of_methods_that_read_gradients(method: Method) -> None:
    toy = Toy()
    wanted = aggregate(method, toy.jacobian())
    found = backward(toy.losses(), method, toy.trunk)
    assert (found is None) == (method.returns == "update")
    assert toy.update() == pytest.approx(wanted, rel=1e-10, abs=1e-14)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(toy.head_gradient(task), rel=1e-12)


def test_weights_of_a_method_that_reads_gradients() -> None:
    assert fault(weights, Signs(), GRAM) == ("method signs reads whole gradients, not inner products: use aggregate")


@pytest.mark.parametrize("change", [lambda update: update[1:], lambda update: update * torch.nan])
def test_a_bad_update_names_the_method(change: Any) -> None:
    toy = Toy()
    with pytest.raises(CellError, match="method biggest returned an update"):
        aggregate(Biggest(change), np.eye(3))
    with pytest.raises(CellError, match="method biggest returned an update"):
        backward(toy.losses(), Biggest(change), toy.trunk)
    assert all(parameter.grad is None for parameter in toy.trunk.parameters())


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
    found = aggregate(method, rows, further=(one, other))
    assert method.seen == pytest.approx(one @ other.T)
    assert found == pytest.approx(np.diagonal(one @ other.T) @ rows)
    assert weights(method, cross_gram=one @ other.T) == pytest.approx(np.diagonal(one @ other.T))
    assert "give cross_gram" in fault(aggregate, method, rows)
    wrong = fault(aggregate, method, rows, further=(one, other[:, :4]))
    assert wrong == "further must be two matrices of the jacobian's shape (2, 5), not of shape (2, 4)"


def test_backward_with_further_batches() -> None:
    toy, one, other, method = Toy(), Toy(), Toy(), Between()
    for model, seed in ((one, 1), (other, 2)):
        model.load_state_dict(toy.state_dict())
        model.inputs = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    first, second = one.jacobian(), other.jacobian()

    def losses(model: Toy) -> list[torch.Tensor]:
        toy.inputs, before = model.inputs, toy.inputs  # the further batches go through the same model
        found = toy.losses()
        toy.inputs = before
        return found

    used = weighted(toy.losses(), method, toy.trunk, further=[losses(one), losses(other)])
    assert method.seen == pytest.approx(first @ second.T, rel=1e-10)
    assert toy.update() == pytest.approx(used @ toy.jacobian(), rel=1e-10, abs=1e-14)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(toy.head_gradient(task), rel=1e-12)


def test_further_batches_that_do_not_fit() -> None:
    toy = Toy()
    losses = toy.losses()
    for further in ([], [losses], [losses, losses[:2]]):
        message = fault(backward, losses, Between(), toy.trunk, further=further)
        assert message == "method between takes 3 batches a step: give further= 2 lists of 3 losses"
    assert "method sum takes 1 batch" in fault(backward, losses, "sum", toy.trunk, further=[losses])
    detached = [loss.detach() for loss in losses]
    assert "graph" in fault(backward, losses, Between(), toy.trunk, further=[losses, detached])
    assert all(parameter.grad is None for parameter in toy.parameters())


@pytest.mark.parametrize("given", ["tensor", "list"])
def test_backward_with_the_representation(given: str) -> None:
    toy, method = Toy(), Representation()
    features = toy.trunk(toy.inputs)
    losses = [
        ((head(features)[:, 0] - target) ** 2).mean() * 3.0**task
        for task, (head, target) in enumerate(zip(toy.heads, toy.targets.T, strict=True))
    ]
    rows = np.stack([flat(torch.autograd.grad(loss, features, retain_graph=True)) for loss in losses])
    wanted = toy.jacobian()
    used = weighted(losses, method, toy.trunk, representation=features if given == "tensor" else [features])
    assert method.seen == pytest.approx(rows @ rows.T, rel=1e-12)
    assert toy.update() == pytest.approx(used @ wanted, rel=1e-10, abs=1e-14)


def test_a_missing_representation_is_named() -> None:
    toy = Toy()
    message = fault(backward, toy.losses(), Representation(), toy.trunk)
    assert message == "method of-representation reads the gradients of the representation: give representation"
    assert all(parameter.grad is None for parameter in toy.trunk.parameters())


def test_clipping_is_part_of_backward() -> None:
    @dataclass
    class Clipped(Named):
        @property
        def clip_norm(self) -> float | None:
            return 0.125

    toy = Toy()
    assert weighted(toy.losses(), Clipped(), toy.trunk).tolist() == [1.0] * TASKS
    assert np.linalg.norm(toy.update()) == pytest.approx(0.125)
    assert toy.head_update(0) == pytest.approx(toy.head_gradient(0), rel=1e-12)


# The gradients themselves


def test_task_gradients_are_those_of_autograd() -> None:
    toy = Toy()
    found = TaskGradients(toy.losses(), toy.trunk)
    assert found.jacobian.numpy() == pytest.approx(toy.jacobian(), rel=1e-12, abs=1e-15)
    assert found.gram == pytest.approx(toy.jacobian() @ toy.jacobian().T, rel=1e-10)
    assert found.losses == pytest.approx([float(loss.detach()) for loss in toy.losses()])
    assert all(parameter.grad is None for parameter in toy.parameters())


def test_task_gradients_with_weights_of_ones_own() -> None:
    toy, other = Toy(), Toy()
    own = np.arange(1.0, TASKS + 1.0)
    found = TaskGradients(toy.losses(), toy.trunk)
    found.backward(own)
    assert toy.update() == pytest.approx(own @ other.jacobian(), rel=1e-12)
    assert found.combine(own).numpy() == pytest.approx(own @ other.jacobian(), rel=1e-12)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(other.head_gradient(task), rel=1e-12)
    found.backward(own)
    assert toy.update() == pytest.approx(2.0 * own @ other.jacobian(), rel=1e-12)


def test_task_gradients_and_a_method_are_backward() -> None:
    toy, other = Toy(), Toy()
    found = TaskGradients(toy.losses(), toy.trunk)
    found.backward(weights("mgda", found.gram))
    backward(other.losses(), "mgda", other.trunk)
    assert toy.update() == pytest.approx(other.update(), rel=1e-9)


def test_task_gradients_refuse_bad_input() -> None:
    toy = Toy()
    with pytest.raises(UsageError, match="at least one loss"):
        TaskGradients([], toy.trunk)
    with pytest.raises(UsageError, match="graph"):
        TaskGradients([torch.ones(())], toy.trunk)
    with pytest.raises(UsageError, match="weights must be"):
        TaskGradients(toy.losses(), toy.trunk).combine([1.0])
