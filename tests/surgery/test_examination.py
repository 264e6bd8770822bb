"""The check of surgery on a user's own batch: what it finds, what it says, and that it leaves no trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from library_cases import TASKS, Toy, fault
from shared_models import build
from torch import nn
from torch.utils.checkpoint import checkpoint

import mtlbench
from mtlbench.surgery.rows import Rows

HEALTHY = ["bert", "gpt2", "deberta", "batch_norm", "lstm", "tied_layers", "sparse_table", "summed", "lora"]


def examined(name: str, mode: str = "concatenated", skip: bool = False) -> Any:
    model = build(name)
    with mtlbench.Surgery(model.trunk, "mgda", skip_zero_rows=skip) as surgery:
        return surgery.check(model.losses(mode), model=[("trunk", model.trunk), ("heads", model.heads)])


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models(name: str, skip: bool) -> None:
    examination = examined(name, skip=skip)
    assert examination.ok, str(examination)
    assert examination.deterministic and examination.agreement.relative < 1e-10
    assert str(examination).startswith("Surgery is right on this batch.")
    assert examination.heads == {str(task): [f"heads.{task}.weight", f"heads.{task}.bias"] for task in range(TASKS)}
    if skip and name in {"bert", "deberta", "tied_layers"}:
        assert examination.dead_share > 0.5
        assert "Rows of zeros in the layers that skip them: " in str(examination)
    assert not skip or (examination.dead_share is None) == (name in {"batch_norm", "lstm", "summed"})


def test_every_fact_of_a_batch() -> None:
    examination = examined("bert", "separate")
    assert not examination.overlap and "The losses have graphs of their own." in str(examination)
    assert all("pooler" in name for name in examination.unreached) and len(examination.unreached) == 2
    assert "No loss reaches encoder.pooler.dense.weight" in str(examination)
    assert examined("bert", "shared").overlap
    toy = Toy()
    jacobian = toy.jacobian()
    surgery = mtlbench.Surgery(toy.trunk, "mgda", tasks=["a", "b", "c"])
    examination = surgery.check(toy.losses(), model=toy)
    assert examination.norms == pytest.approx(np.linalg.norm(jacobian, axis=1))
    assert examination.gram == pytest.approx(jacobian @ jacobian.T)
    unit = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
    assert examination.cosines == pytest.approx(unit @ unit.T)
    negative = [(unit @ unit.T)[i, j] < 0.0 for i, j in ((0, 1), (0, 2), (1, 2))]
    assert examination.conflict == np.mean(negative)
    assert examination.megabytes == pytest.approx(TASKS * jacobian.shape[1] * 8 / 1e6)
    assert examination.types == {"float64": jacobian.shape[1]}
    assert "Head of task b: heads.1.weight, heads.1.bias." in str(examination)


def test_types_of_a_mixture() -> None:
    parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, dtype=torch.bfloat16))]
    losses = [(parameters[0].sum() + parameters[1].float().sum()) * factor for factor in (1.0, -1.0)]
    examination = mtlbench.Surgery(parameters, "mgda").check(losses)
    assert examination.ok and examination.types == {"float32": 3, "bfloat16": 2}
    assert "3 in float32, 2 in bfloat16" in str(examination)


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("spec", ["pcgrad", "gradvac", "gradnorm", "graddrop", "imtl-l"])
def test_a_check_changes_nothing(spec: str, skip: bool) -> None:
    def train(checks: bool) -> list[torch.Tensor]:
        model = build("bert")
        parameters = [*model.trunk.parameters(), *model.heads.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.05)
        last = model.trunk.encoder.encoder.layer[1]
        with mtlbench.Surgery(model.trunk, spec, skip_zero_rows=skip, last_shared_layer=last) as surgery:
            for mode in ("shared", "concatenated", "separate"):
                losses = model.losses(mode)
                if checks:
                    grads = [None if p.grad is None else p.grad.clone() for p in parameters]
                    state, generator = str(surgery.state_dict()), torch.get_rng_state()
                    assert surgery.check(losses).ok
                    assert str(surgery.state_dict()) == state and torch.get_rng_state().equal(generator)
                    for p, before in zip(parameters, grads, strict=True):
                        assert p.grad is None if before is None else p.grad is not None and p.grad.equal(before)
                optimizer.zero_grad()
                surgery.loss(losses).backward()
                optimizer.step()
        return parameters

    assert all(one.equal(other) for one, other in zip(train(False), train(True), strict=True))


def test_a_check_between_micro_batches_changes_nothing() -> None:
    results = []
    for checks in (False, True):
        toy = Toy()
        surgery = mtlbench.Surgery(toy.trunk, "mgda", accumulate=2)
        for _ in range(2):
            losses = toy.losses()
            if checks:
                surgery.check(losses)
            (surgery.loss(losses) / 2).backward()
        results.append(toy.update())
    assert (results[0] == results[1]).all()


def test_a_checkpoint_that_draws_numbers() -> None:
    toy = Toy()
    dropout = nn.Dropout(0.5)

    def losses() -> list[torch.Tensor]:
        features = checkpoint(lambda x: dropout(toy.trunk(x)), toy.inputs, use_reentrant=False)
        return [head(features).sum() for head in toy.heads]

    surgery = mtlbench.Surgery(toy.trunk, "mgda")
    ready = losses()
    state = torch.get_rng_state()
    assert surgery.check(ready).ok
    assert torch.get_rng_state().equal(state)


# Planted faults


class Noisy(torch.autograd.Function):
    """The backward pass adds noise, as a sum in random order does, but larger."""

    size = 0.01

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * (1.0 + Noisy.size * torch.rand((), generator=Noisy.generator, dtype=gradient.dtype))

    generator = torch.Generator()


@pytest.mark.parametrize(("size", "ok"), [(0.01, False), (1e-13, True)])
def test_a_backward_pass_that_is_not_reproducible(size: float, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Noisy, "size", size)
    toy = Toy()
    features = Noisy.apply(toy.trunk(toy.inputs))
    examination = mtlbench.Surgery(toy.trunk, "mgda").check([head(features).square().mean() for head in toy.heads])
    assert not examination.deterministic and examination.ok is ok
    if not ok:
        assert "the backward pass is not reproducible: two runs differ by" in str(examination)
    assert "The backward pass is not deterministic" in str(examination)


@pytest.mark.parametrize("layer", ["Linear", "Embedding"])
def test_a_replaced_layer_with_a_broken_backward(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle runs torch's function in the layer's place, also for a forward that was before."""
    model = build("tied_layers" if layer == "Embedding" else "zero_rows")
    if layer == "Linear":
        good = Rows.receive_product
        monkeypatch.setattr(
            Rows, "receive_product", lambda self, task, position, a, b: good(self, task, position, a * 1.01, b)
        )
    else:
        good_rows = Rows.receive_rows
        monkeypatch.setattr(
            Rows, "receive_rows", lambda self, task, position, n, g: good_rows(self, task, position, n.flip(0), g)
        )
    with mtlbench.Surgery(model.trunk, "mgda", skip_zero_rows=True) as surgery:
        examination = surgery.check(model.losses("concatenated"))
    assert not examination.ok and examination.agreement.relative > 0.005
    assert "a row differs from torch.autograd.grad by" in str(examination)
    assert examination.agreement.place is not None and examination.agreement.place[1].endswith("weight")


def test_a_replaced_layer_that_passes_on_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a live row for a dead one, which shows in the layers below."""
    from mtlbench.surgery import skipping

    good = skipping.live_rows

    def bad(*given: Any) -> Any:
        live = good(*given)
        return None if live is None else live[1:]

    monkeypatch.setattr(skipping, "live_rows", bad)
    examination = examined("bert", skip=True)
    assert not examination.ok and "a row differs" in str(examination)


def test_a_row_that_is_not_finite() -> None:
    toy = Toy()
    losses = toy.losses()
    zero = toy.trunk[2].bias.sum() * 0.0
    losses[1] = losses[1] + zero.sqrt()  # 0 in the forward pass, NaN in the backward pass
    examination = mtlbench.Surgery(toy.trunk, "mgda", tasks=["a", "b", "c"]).check(losses, model=toy)
    assert ("b", "2.bias") in examination.not_finite and all(task == "b" for task, _ in examination.not_finite)
    assert "not finite: task b: 2.bias" in str(examination) and not examination.ok
    losses = toy.losses()
    losses[2] = losses[2] * torch.inf
    examination = mtlbench.Surgery(toy.trunk, "mgda").check(losses)
    assert ("2", "the loss itself") in examination.not_finite


def test_hooks_are_named() -> None:
    """A hook on a parameter acts on the update, so it is no fault; it must not act on the examination."""
    toy = Toy()
    toy.trunk[0].weight.register_hook(lambda gradient: gradient * 3.0)
    calls = []
    toy.trunk[2].bias.register_post_accumulate_grad_hook(lambda parameter: calls.append(parameter))
    examination = mtlbench.Surgery(toy.trunk, "mgda").check(toy.losses())
    assert examination.ok and examination.hooked == ["0.weight", "2.bias"] and not calls
    assert "Hooks run once, on the finished update, not on every task's gradient: 0.weight, 2.bias." in str(examination)


def test_a_hook_inside_the_graph_is_seen_where_it_changes_its_mind() -> None:
    """One that does the same at every pass belongs to the gradient, as in torch; one that counts does not."""
    toy = Toy()
    calls: list[int] = []

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient * len(calls)

    features = toy.trunk(toy.inputs)
    features.register_hook(hook)
    examination = mtlbench.Surgery(toy.trunk, "mgda").check([head(features).square().mean() for head in toy.heads])
    assert not examination.ok and "not reproducible" in str(examination)


def test_disputed_parameters_are_named() -> None:
    toy = Toy()
    surgery = mtlbench.Surgery(toy.trunk[0], "mgda")
    examination = surgery.check(toy.losses(), model=toy)
    assert not examination.ok and sorted(examination.disputed) == ["trunk.2.bias", "trunk.2.weight"]
    assert "several losses reach trunk.2." in str(examination) and "add to shared" in str(examination)
    assert "in shared" in fault(surgery.loss, toy.losses())
    assert "a parameter of shape (4, 6)" in str(surgery.check(toy.losses()))


def test_a_loss_that_reaches_no_shared_parameter() -> None:
    """A detached representation is the usual cause."""
    toy = Toy()
    losses = toy.losses()
    losses[1] = toy.heads[1](toy.trunk(toy.inputs).detach()).square().mean()
    examination = mtlbench.Surgery(toy.trunk, "mgda").check(losses)
    assert examination.blind == ["1"] and "the loss of task 1 reaches no shared parameter" in str(examination)
    assert not examination.ok


def test_parameters_that_some_tasks_reach() -> None:
    toy = Toy()
    extra = nn.Linear(4, 4).double()
    features = toy.trunk(toy.inputs)
    losses = [head(extra(features) if task == 2 else features).sum() for task, head in enumerate(toy.heads)]
    shared = nn.ModuleDict({"trunk": toy.trunk, "extra": extra, "never": nn.Linear(2, 2)})
    examination = mtlbench.Surgery(shared, "mgda", tasks=["a", "b", "c"]).check(losses)
    assert examination.partly == {"extra.weight": ["c"], "extra.bias": ["c"]} and examination.ok
    assert examination.unreached == ["never.weight", "never.bias"]
    assert "Only some tasks reach extra.weight (c), extra.bias (c)." in str(examination)


def test_tasks_that_are_absent() -> None:
    toy = Toy()
    losses: list[torch.Tensor | None] = [*toy.losses()]
    losses[1] = None
    examination = mtlbench.Surgery(toy.trunk, "mgda", tasks=["a", "b", "c"]).check(losses)
    assert examination.ok and examination.tasks == ["a", "c"] and examination.gram.shape == (2, 2)


def test_named_heads_settle_a_dispute() -> None:
    toy = Toy()
    heads = [[*head.parameters()] for head in toy.heads]
    heads[0] += toy.trunk[2].parameters()
    examination = mtlbench.Surgery(toy.trunk[0], "mgda", heads=heads).check(toy.losses(), model=toy)
    assert not examination.disputed
    assert examination.heads["0"] == ["trunk.2.weight", "trunk.2.bias", "heads.0.weight", "heads.0.bias"]


def test_a_scaled_loop() -> None:
    """Gradients that vanish in float16 without the scale."""
    shared = nn.Parameter(torch.ones(4, dtype=torch.float16))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    losses = [(shared * 1e-4).float().sum() * factor for factor in (1e-2, -2e-2)]
    surgery = mtlbench.Surgery(shared, "mgda", scaler=scaler)
    examination = surgery.check(losses)
    assert examination.ok and examination.norms == pytest.approx([2e-6, 4e-6], rel=0.01)
    assert scaler._scale is None  # not even begun


def test_bad_arguments_are_those_of_loss() -> None:
    toy = Toy()
    surgery = mtlbench.Surgery(toy.trunk, "mgda", tasks=3)
    assert "got 2 losses for 3 tasks" in fault(surgery.check, toy.losses()[:2])
    assert "model must be" in fault(surgery.check, toy.losses(), model=3)
    losses = toy.losses()
    surgery.loss(losses).backward()
    assert "compute the losses anew" in fault(surgery.check, losses)


def test_parameters_inside_a_reentrant_checkpoint() -> None:
    """Torch hides them, and its pass fills every ``.grad``; what is there afterwards is what was before."""
    toy, named = Toy(), Toy()
    toy.inputs.requires_grad_()

    def losses(toy: Toy) -> list[torch.Tensor]:
        features = checkpoint(toy.trunk, toy.inputs, use_reentrant=True)
        return [checkpoint(head, features, use_reentrant=True).square().mean() for head in toy.heads]

    surgery = mtlbench.Surgery([toy.trunk, *toy.heads[1:]], "mgda", heads=[toy.heads[0], [], []])
    examination = surgery.check(losses(toy), model=toy)
    assert examination.heads["0"] == ["heads.0.weight", "heads.0.bias"] and not examination.unreached
    assert all(parameter.grad is None for parameter in toy.parameters())
    named.inputs.requires_grad_()
    examination = mtlbench.Surgery(named.trunk, "mgda").check(losses(named), model=named)
    assert all(parameter.grad is None for parameter in named.parameters())
    assert not examination.unreached
