"""The page docs/own_loop.md: precision, accumulation, checkpoints, compilation, LoRA. Every block runs in some test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch._functorch.config
from library_cases import Toy, fault
from own_loop_page import BATCH, LR, PAGE, TASKS, batches, blocks, by_hand, distance, make_model, run_block

import mtlbench
from mtlbench import Surgery

RUN_BY_TESTS = {
    "The plain loop": 2,  # the first block is part of every test
    "Check it on your own batch": 1,
    "Cost and cheaper ways": 3,
    "Mixed precision": 2,
    "Gradient accumulation": 2,
    "Several processes": 2,
    "Accelerate": 1,
    "Hugging Face Trainer": 1,
    "Lightning": 1,
    "torch.compile": 2,
    "Activation checkpointing": 2,
    "LoRA": 1,
    "Save and resume": 1,
}
"""Section → the number of blocks that these files and their two neighbours run."""


def surgery_of(model: Any, method: Any = "pcgrad", **options: Any) -> Surgery:
    return Surgery(model.encoder, method, tasks=TASKS, **options)


def sgd(model: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=LR)


def test_every_block_is_run_and_every_section_is_in_the_table_of_contents() -> None:
    assert {section: len(code) for section, code in blocks().items() if code} == RUN_BY_TESTS
    linked = re.findall(r"^- \[(.*?)\]\(#(.*?)\)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [title for title, _ in linked] == list(blocks())
    assert all(anchor == re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title, anchor in linked)


def test_plain_loop() -> None:
    change = {
        "AdamW(model.parameters(), lr=1e-3)": f"SGD(model.parameters(), lr={LR})",
        "LinearLR(optimizer)": "ConstantLR(optimizer, factor=1.0)",
    }
    model = run_block("The plain loop", 1, change=change)["model"]
    reference = by_hand(batches(), clip=1.0)
    assert distance(model, reference) < 1e-4
    assert distance(reference, by_hand(batches(), "sum", clip=1.0)) > 1e-2


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    model = run_block("Check it on your own batch")["model"]
    assert "Surgery is right on this batch." in capsys.readouterr().out
    assert all(parameter.grad is None for parameter in model.parameters())


def test_skipping_rows_of_zeros_is_exact() -> None:
    names = run_block("Cost and cheaper ways", 0, dtype=torch.float64)
    assert distance(names["model"], by_hand(batches(dtype=torch.float64), dtype=torch.float64)) < 1e-10
    assert all("forward" not in vars(module) for module in names["model"].modules())


@pytest.mark.parametrize("block", [1, 2])
def test_cheaper_ways_are_other_methods_and_say_so(block: int) -> None:
    names = run_block("Cost and cheaper ways", block, dtype=torch.float64)
    assert names["surgery"].name in (
        "pcgrad, Gram matrix of the representation",
        "pcgrad, weights renewed every 10 steps",
    )
    assert distance(names["model"], by_hand(batches(dtype=torch.float64), dtype=torch.float64)) > 1e-4
    assert distance(names["model"], by_hand(batches(dtype=torch.float64), "sum", dtype=torch.float64)) > 1e-4


# Precision


def test_bfloat16() -> None:
    model = run_block("Mixed precision", 0)["model"]
    assert distance(model, by_hand(batches(), autocast=torch.bfloat16)) < 1e-4
    assert distance(model, by_hand(batches())) > 1e-4


def test_surgery_inside_autocast_and_outside_gives_the_same_bits() -> None:
    gradients = []
    for inside in (False, True):
        model = make_model()
        with torch.autocast("cpu", torch.bfloat16):
            losses = model(**batches()[0])
            if inside:
                surgery_of(model).loss(losses).backward()
        if not inside:
            surgery_of(model).loss(losses).backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(one.dtype == torch.float32 and torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_float16_with_a_scaler() -> None:
    names = run_block("Mixed precision", 1, change={'GradScaler("cpu")': 'GradScaler("cpu", init_scale=2.0**12)'})
    assert names["scaler"].get_scale() == 2.0**12  # nothing overflowed
    assert distance(names["model"], by_hand(batches(), autocast=torch.float16, clip=1.0)) < 1e-2


def half_step(model: Any, surgery: Surgery, optimizer: Any, scaler: Any, batch: Any) -> None:
    with torch.autocast("cpu", torch.float16):
        losses = model(**batch)
    scaler.scale(surgery.loss(losses)).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()


def state(surgery: Surgery) -> Any:
    return repr(surgery.state_dict())


METHODS = ["gradvac", "uw", "rlw", "graddrop", "moco", "gradnorm", "famo", "dwa"]


@pytest.mark.parametrize("name", METHODS)
def test_an_overflow_is_left_to_the_scaler(name: str) -> None:
    model = make_model()
    last = model.encoder.encoder.layer[1] if name == "gradnorm" else None
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    surgery, optimizer = surgery_of(model, name, scaler=scaler, last_shared_layer=last), sgd(model)
    one, two = batches()[:2]

    def step(batch: Any) -> None:
        half_step(model, surgery, optimizer, scaler, batch)
        if surgery.method.reads_after:
            surgery.after_step([0.5, 0.5, 0.5])

    step(one)
    before, parameters = state(surgery), [p.detach().clone() for p in model.parameters()]
    scaler.update(2.0**40)
    step(two)
    assert state(surgery) == before
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), parameters, strict=True))
    assert scaler.get_scale() == 2.0**39
    scaler.update(2.0**14)
    step(two)
    assert state(surgery) != before
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(model.parameters(), parameters, strict=True))


def test_weights_are_renewed_after_an_overflow() -> None:
    model, scaler = make_model(), torch.amp.GradScaler("cpu", init_scale=2.0**40)
    surgery, optimizer = surgery_of(model, "fairgrad", renew_every=3, scaler=scaler), sgd(model)
    half_step(model, surgery, optimizer, scaler, batches()[0])
    assert surgery.weights is None
    scaler.update(2.0**14)
    half_step(model, surgery, optimizer, scaler, batches()[0])
    asked = mtlbench.weights("fairgrad", surgery.gram)
    assert np.allclose(surgery.weights, asked) and np.abs(asked - 1.0).max() > 0.01
    half_step(model, surgery, optimizer, scaler, batches()[1])
    assert np.array_equal(surgery.weights, asked) and surgery.gram is None


def test_an_overflow_in_the_first_micro_batch() -> None:
    model, scaler = make_model(), torch.amp.GradScaler("cpu", init_scale=2.0**14)
    surgery, optimizer = surgery_of(model, "gradvac", accumulate=2, scaler=scaler), sgd(model)
    before, start = state(surgery), [p.detach().clone() for p in model.parameters()]
    model.heads["like"].bias.register_hook(lambda gradient: gradient)
    losses = model(**batches()[0])
    losses["like"] = losses["like"] * 1e36  # its gradients overflow in float32
    scaler.scale(surgery.loss(losses) / 2).backward()
    scaler.scale(surgery.loss(model(**batches()[1])) / 2).backward()
    scaler.step(optimizer)
    scaler.update()
    assert state(surgery) == before and scaler.get_scale() == 2.0**13
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), start, strict=True))


def test_a_scaled_float16_loss_needs_the_scaler() -> None:
    for method in ("pcgrad", "sum"):
        model, scaler = make_model(), torch.amp.GradScaler("cpu")
        with torch.autocast("cpu", torch.float16):
            losses = model(**batches()[0])
        loss = scaler.scale(surgery_of(model, method).loss(losses))
        assert "pass scaler= to Surgery" in fault(loss.backward)
        assert all(p.grad is None for p in model.parameters())


def test_a_disabled_scaler_changes_nothing() -> None:
    plain, scaled, scaler = make_model(), make_model(), torch.amp.GradScaler("cpu", enabled=False)
    surgery_of(plain).loss(plain(**batches()[0])).backward()
    scaler.scale(surgery_of(scaled, scaler=scaler).loss(scaled(**batches()[0]))).backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(plain.parameters(), scaled.parameters(), strict=True))


# Accumulation


def test_surgery_on_every_micro_batch_averages_the_updates() -> None:
    model = run_block("Gradient accumulation", 0)["model"]
    other = make_model()
    surgery, optimizer = surgery_of(other), sgd(other)
    for first, second in zip(batches()[::2], batches()[1::2], strict=True):
        surgery.loss(other(**first)).backward()
        surgery.loss(other(**second)).backward()
        for parameter in other.parameters():
            parameter.grad /= 2
        optimizer.step()
        optimizer.zero_grad()
    assert distance(model, other) < 1e-5
    assert distance(model, by_hand(batches(2 * BATCH))) > 1e-3


@pytest.mark.parametrize("method", ["pcgrad", "graddrop", "moco", "uw", "gradvac", "fairgrad"])
def test_surgery_on_the_whole_batch_is_that_on_one_large_batch(method: str) -> None:
    change = {'"pcgrad"': f'"{method}"'}
    for dtype, limit in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        if dtype == torch.float32 and method != "pcgrad":
            continue
        model = run_block("Gradient accumulation", 1, dtype=dtype, change=change)["model"]
        assert distance(model, by_hand(batches(2 * BATCH, dtype), method, dtype=dtype)) < limit


def test_accumulated_gradients_are_those_of_one_batch_to_a_millionth() -> None:
    small, large = make_model(), make_model()
    surgery = surgery_of(small, accumulate=2)
    for batch in batches()[:2]:
        (surgery.loss(small(**batch)) / 2).backward()
    surgery_of(large).loss(large(**batches(2 * BATCH)[0])).backward()
    size = max(float(p.grad.abs().max()) for p in large.parameters())
    for p, q in zip(small.parameters(), large.parameters(), strict=True):
        assert float((p.grad - q.grad).abs().max()) < 1e-6 * size


def test_an_optimizer_step_between_micro_batches_is_refused() -> None:
    model = make_model()
    surgery, optimizer, batch = surgery_of(model, accumulate=2), sgd(model), batches()[0]
    for _ in range(3):  # five micro-batches in steps of two, and then the next epoch
        surgery.loss(model(**batch)).backward()
        optimizer.step()  # nothing yet to step with
        optimizer.zero_grad()
    surgery.loss(model(**batch)).backward()
    optimizer.step()
    surgery.loss(model(**batch)).backward()
    with torch.no_grad():
        next(model.encoder.parameters()).add_(1.0)
    message = fault(surgery.loss, model(**batch))
    assert message.startswith("the shared parameters changed after 1 of 2 micro-batches: ")
    surgery.loss(model(**batch)).backward()  # begins anew
    surgery.loss(model(**batch)).backward()
    assert model.heads["mood"].bias.grad is not None


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}, {"foreach": False}])
def test_every_kind_of_optimizer_step_is_noticed(options: Any) -> None:
    model = make_model()
    surgery, optimizer = surgery_of(model, accumulate=2), torch.optim.AdamW(model.parameters(), lr=1e-3, **options)
    surgery.loss(model(**batches()[0])).backward()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert "step the optimizer after the last one" in fault(surgery.loss, model(**batches()[1]))


def test_micro_batches_of_other_tasks_or_parameters_are_refused() -> None:
    model, batch = make_model(), batches()[0]
    surgery = surgery_of(model, accumulate=2)
    for absent, other in (("mood", "same"), (None, "like"), ("like", None)):
        surgery.loss({**model(**batch), absent: None} if absent else model(**batch)).backward()
        message = fault(surgery.loss, {**model(**batch), other: None} if other else model(**batch))
        assert message.startswith("micro-batch 2 of 2 has other tasks")
    surgery.loss(model(**batch)).backward()
    model.encoder.embeddings.requires_grad_(False)
    assert "micro-batch 2 of 2 has other tasks, or other shared parameters" in fault(surgery.loss, model(**batch))


def test_a_step_of_fewer_micro_batches() -> None:
    model, other = make_model(torch.float64), make_model(torch.float64)
    surgery = surgery_of(model, accumulate=3)
    for batch in batches(dtype=torch.float64)[:3]:
        (surgery.loss(model(**batch)) / 3).backward()
    surgery.accumulate = 2
    model.zero_grad()
    first, second = batches(dtype=torch.float64)[3:5]
    (surgery.loss(model(**first)) / 2).backward()
    assert fault(setattr, surgery, "accumulate", 3).startswith("accumulate is changed after 1 of 2 micro-batches")
    (surgery.loss(model(**second)) / 2).backward()
    both = {name: torch.cat([first[name], second[name]]) for name in first}
    method = mtlbench.get_method("pcgrad")
    mtlbench.weights(method, np.eye(3))  # so that its random orders are those of the second step
    surgery_of(other, method).loss(other(**both)).backward()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12)
    with pytest.raises(mtlbench.UsageError, match="accumulate must be a whole number"):
        surgery.accumulate = 0


# Graphs


@pytest.mark.filterwarnings("ignore:`(gradient|is_gradient)_checkpointing.*is deprecated:FutureWarning")
@pytest.mark.parametrize("number", [0, 1], ids=["non-reentrant", "reentrant"])
def test_activation_checkpointing(number: int) -> None:
    names = run_block(
        "Activation checkpointing", number, dtype=torch.float64, change={"surgery = ": "model.train()\nsurgery = "}
    )
    assert names["model"].encoder.encoder.layer[0].gradient_checkpointing
    reference = by_hand(batches(dtype=torch.float64), dtype=torch.float64)
    assert distance(names["model"], reference) < 1e-10


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora() -> None:
    peft = pytest.importorskip("peft", reason="extra 'integrations'")
    change = {"AdamW([p": "SGD([p", "lr=1e-3": f"lr={LR}"}
    names = run_block("LoRA", change=change)
    model = make_model()
    model.encoder = peft.get_peft_model(
        model.encoder, peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False)
    )
    adapters = {n: p for n, p in model.named_parameters() if "lora_" in n}
    assert set(names["surgery"].parameters) - {n.removeprefix("encoder.") for n in adapters}  # frozen ones among them
    surgery_of(model).loss(model(**batches()[0])).backward()
    given = {n for n, p in model.named_parameters() if p.grad is not None}
    assert given == adapters.keys() | {n for n, _ in model.named_parameters() if n.startswith("heads.")}
    actual = {name: p.grad.clone() for name, p in adapters.items()}
    model.zero_grad()
    start = {name: p.detach().clone() for name, p in adapters.items()}
    by_hand(batches()[:1], model=model)
    for name, parameter in adapters.items():
        torch.testing.assert_close(start[name] - LR * actual[name], parameter, rtol=1e-4, atol=1e-7)


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    saved = torch._functorch.config.donated_buffer
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch._functorch.config.donated_buffer = saved


def renewed(model: Any, forward: Callable[..., Any]) -> None:
    surgery, optimizer = surgery_of(model, renew_every=2), sgd(model)
    for batch in batches():
        surgery.loss(forward(**batch)).backward()
        optimizer.step()
        optimizer.zero_grad()


COMPILER = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


@COMPILER
@pytest.mark.usefixtures("_fresh_compiler")
def test_a_model_compiled_as_a_whole() -> None:
    eager = make_model()
    renewed(eager, eager)
    change = {"torch.compile(model)": 'torch.compile(model, backend="aot_eager")'}
    names = run_block("torch.compile", 1, change=change)
    assert distance(names["model"], eager) < 1e-4
    assert "weights renewed every 2 steps" in names["surgery"].name


@COMPILER
@pytest.mark.usefixtures("_fresh_compiler")
def test_buffers_that_torch_frees_are_one_line() -> None:
    torch._functorch.config.donated_buffer = True
    toy = Toy()
    toy.trunk = torch.compile(toy.trunk, backend="aot_eager")
    torch.stack(toy.losses()).sum().backward()  # from now on, torch frees the graph's buffers
    message = fault(Surgery(toy.trunk).loss, toy.losses())
    assert "import torch._functorch.config and set its donated_buffer = False" in message


@COMPILER
@pytest.mark.slow
@pytest.mark.usefixtures("_fresh_compiler")
def test_a_compiled_encoder() -> None:
    names = run_block("torch.compile", 0)
    assert distance(names["model"], by_hand(batches())) < 1e-3
    torch._dynamo.reset()
    eager = make_model()
    renewed(eager, eager)
    assert distance(run_block("torch.compile", 1)["model"], eager) < 1e-3


# Further things that loops do


def test_save_and_resume(tmp_path: Any) -> None:
    names = run_block("Save and resume", output_dir=tmp_path)
    model, surgery, loader = names["model"], names["surgery"], list(names["loader"])
    assert surgery.method.targets is not None  # restored as an array
    other = make_model()
    uninterrupted = surgery_of(other, "gradvac")
    for batch in loader[:2]:
        other.zero_grad()
        uninterrupted.loss(other(**batch)).backward()
    model.zero_grad()
    surgery.loss(model(**loader[1])).backward()
    assert surgery.weights.tolist() == uninterrupted.weights.tolist()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_a_state_of_another_method_or_of_no_surgery_is_refused() -> None:
    model = make_model()
    assert fault(surgery_of(model, "uw").load_state_dict, surgery_of(model, "dwa").state_dict()) == (
        "the state is that of method 'dwa', but this is uw"
    )
    for other in ({}, {"data": 1, "tensors": {}}, model.state_dict()):
        assert "Surgery.state_dict()" in fault(surgery_of(model, "uw").load_state_dict, other)


@pytest.mark.parametrize("method", ["pcgrad", "sum"])
def test_hooks_of_parameters_run_once(method: str) -> None:
    model, calls = make_model(), {"gradient": 0, "accumulated": 0}

    def count(kind: str, result: Any = None) -> None:
        calls[kind] += 1

    weights = [next(model.encoder.parameters()), model.heads["mood"].bias]
    for parameter in weights:
        parameter.register_hook(lambda gradient: count("gradient"))
        parameter.register_post_accumulate_grad_hook(lambda parameter: count("accumulated"))
    surgery_of(model, method).loss(model(**batches()[0])).backward()
    assert calls == {"gradient": 2, "accumulated": 2}


def test_no_grad_is_no_matter_and_inference_mode_is_refused() -> None:
    model, other, batch = make_model(), make_model(), batches()[0]
    losses = model(**batch)
    with torch.inference_mode():
        assert fault(surgery_of(model).loss, losses).endswith("call it outside torch.inference_mode()")
    with torch.no_grad():
        loss = surgery_of(model).loss(losses)
    loss.backward()
    surgery_of(other).loss(other(**batch)).backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_gradients_set_to_zero_are_added_to() -> None:
    model, surgery, optimizer = make_model(), None, None
    surgery, optimizer = surgery_of(model), sgd(model)
    surgery.loss(model(**batches()[0])).backward()
    kept = [p.grad for p in model.parameters()]
    optimizer.zero_grad(set_to_none=False)
    surgery.loss(model(**batches()[0])).backward()
    assert all(
        p.grad is gradient and p.grad.dtype == p.dtype for p, gradient in zip(model.parameters(), kept, strict=True)
    )
    assert sum(float(gradient.abs().sum()) for gradient in kept) > 0.0
