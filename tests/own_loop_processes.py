"""What two processes of data-parallel training check together.

``python own_loop_processes.py PORT FOLDER`` imports what they need once, and parts into them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.models.bert.modeling_bert  # noqa: F401  # once, before the processes part
from own_loop_page import BATCH, LR, TASKS, batches, blocks, by_hand, distance, make_model, rows, run_block
from torch.nn.parallel import DistributedDataParallel

import mtlbench
from mtlbench import Surgery, UsageError
from mtlbench.engine.step import NotFinite

PROCESSES = 2
CHECKS: dict[str, Callable[[int], Any]] = {}
"""Name → a function of the rank that returns what the test looks at, the same names in every process."""


def check(function: Callable[[int], Any]) -> Callable[[int], Any]:
    CHECKS[function.__name__] = function
    return function


def work(rank: int, port: int, folder: str) -> None:
    """Run all checks in one process, and write their results to a file of its own."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.set_num_threads(1)
    environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    os.environ |= {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in environment.items()}
    results = {}
    for name, function in CHECKS.items():  # the first runs the page's code, which joins the processes
        try:
            results[name] = function(rank)
        except UsageError as error:
            results[name] = f"UsageError: {error}"
        except ImportError as error:
            results[name] = f"not installed: {error}"
        except Exception:
            results[name] = traceback.format_exc()
            print(results[name], file=sys.stderr)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
    Path(folder, f"{rank}.json").write_text(json.dumps(results))
    torch.distributed.destroy_process_group()


# The page


@check
def page(rank: int) -> Any:
    """Both blocks of the page, one after the other as in one script."""
    namespace: dict[str, Any] = {}
    model = make_model(torch.float64, namespace)
    namespace |= {
        "model": model,
        "dataset": rows(torch.float64),
        "optimizer": torch.optim.SGD(model.parameters(), lr=LR),
    }
    result = []
    for block in blocks()["Several processes"]:
        exec(compile(block, "docs/own_loop.md", "exec"), namespace)
        result.append({name: p.detach().clone() for name, p in model.named_parameters()})
    reference = make_model(torch.float64)
    joined = batches(PROCESSES * BATCH, torch.float64)
    first = distance(result[0], by_hand(joined, model=reference, dtype=torch.float64))
    larger = batches(2 * PROCESSES * BATCH, torch.float64)
    second = distance(result[1], by_hand(larger, model=reference, dtype=torch.float64))
    return {"plain": first, "accumulated": second, "bits": fingerprint(model)}


def fingerprint(model: Any) -> str:
    return "".join(p.detach().double().flatten().numpy().tobytes().hex() for p in model.parameters())[::64]


# Methods


def share(batch: dict[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    return {name: value[rank::PROCESSES] for name, value in batch.items()}


def train(
    rank: int,
    method: Any = "pcgrad",
    *,
    dtype: torch.dtype = torch.float64,
    setup: Callable[[Any], None] = lambda model: None,
    wrapper: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Train a replica on this process's share of two batches of eight."""
    model = make_model(dtype)
    setup(model)
    replica = DistributedDataParallel(model, **(wrapper or {}))
    surgery, optimizer = (
        Surgery(model.encoder, method, tasks=TASKS, **options),
        torch.optim.SGD(model.parameters(), lr=LR),
    )
    for batch in batches(PROCESSES * BATCH, dtype)[:2]:
        surgery.loss(replica(**share(batch, rank))).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def reference(method: str, dtype: torch.dtype = torch.float64) -> Any:
    return by_hand(batches(PROCESSES * BATCH, dtype)[:2], method, dtype=dtype)


@check
def kinds(rank: int) -> Any:
    """Methods that read losses, the Gram matrix and gradients; return an update; draw random numbers; keep state."""
    methods = ["sum", "uw", "random", "pcgrad", "fairgrad", "gradvac", "graddrop", "moco", "trimmed-mean"]
    return {method: distance(train(rank, method), reference(method)) for method in methods}


@check
def single_precision(rank: int) -> Any:
    return distance(train(rank, dtype=torch.float32), reference("pcgrad", torch.float32))


@check
def repetition(rank: int) -> Any:
    return [fingerprint(train(rank, "graddrop")) for _ in range(2)]


@check
def representation(rank: int) -> Any:
    """The Gram matrix of the representation, and of the last shared layer, are those of the joined batch."""
    grams = []
    for processes in (PROCESSES, 1):
        model = make_model(torch.float64)
        replica = DistributedDataParallel(model) if processes > 1 else model
        batch = batches(PROCESSES * BATCH, torch.float64)[0]
        batch = share(batch, rank) if processes > 1 else batch
        found: list[torch.Tensor] = []
        hook = model.encoder.register_forward_hook(
            lambda module, inputs, output, found=found: found.append(output.last_hidden_state)
        )
        alone = {} if processes > 1 else {"data_parallel": False}
        upper = Surgery(model.encoder, "mgda", tasks=TASKS, gram_of="representation", **alone)
        upper.loss(replica(**batch), representation=found[0]).backward()
        hook.remove()
        layer = model.encoder.encoder.layer[1]
        last = Surgery(
            model.encoder, "fairgrad", tasks=TASKS, gram_of="last_shared_layer", last_shared_layer=layer, **alone
        )
        first = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        last.loss(replica(**batch)).backward()
        grams.append((upper.gram, last.gram, first + [p.grad for p in model.parameters()]))
    one, other = grams
    gradients = max(float((p - q).abs().max()) for p, q in zip(one[2], other[2], strict=True))
    return [float(abs(one[0] / other[0] - 1).max()), float(abs(one[1] / other[1] - 1).max()), gradients]


# Options of DistributedDataParallel


@check
def options_of_the_wrapper(rank: int) -> Any:
    warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified")
    expected = reference("pcgrad")
    result = {}
    for option in ("find_unused_parameters", "gradient_as_bucket_view"):
        result[option] = distance(train(rank, wrapper={option: True}), expected)
    return result


@check
def unused_parameters(rank: int) -> Any:
    """A head that no loss reaches, and a task without labels."""
    gradients = []
    for processes in (PROCESSES, 1):
        model = make_model(torch.float64)
        model.heads["unused"] = torch.nn.Linear(16, 1).double()
        replica = DistributedDataParallel(model, find_unused_parameters=True) if processes > 1 else model
        model.forward = partial(forward_of_two, model)
        surgery = Surgery(model.encoder, tasks=TASKS, **({} if processes > 1 else {"data_parallel": False}))
        for batch in batches(PROCESSES * BATCH, torch.float64)[:2]:
            surgery.loss(replica(**(share(batch, rank) if processes > 1 else batch))).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    one, other = gradients
    return [sorted(one.keys() ^ other.keys()), max(float((one[n] - other[n]).abs().max()) for n in one), len(one)]


def forward_of_two(model: Any, **batch: torch.Tensor) -> Any:
    features = model.encoder(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state[:, 0]
    scores = {task: head(features) for task, head in model.heads.items() if task in ("mood", "same")}
    losses = {task: torch.nn.functional.cross_entropy(score, batch[task]) for task, score in scores.items()}
    return {**losses, "like": None}


@check
def hooks(rank: int) -> Any:
    """How often a parameter's hook and a communication hook run, for one step of three losses."""
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    model = make_model()
    replica = DistributedDataParallel(model)
    calls = {"parameter": 0, "communication": 0}
    next(model.encoder.parameters()).register_post_accumulate_grad_hook(lambda p: count("parameter"))

    def count(kind: str) -> None:
        calls[kind] += 1

    def communicate(state, bucket):  # type: ignore[no-untyped-def]  # torch reads annotations, but no strings
        count("communication")
        return default_hooks.allreduce_hook(state, bucket)

    replica.register_comm_hook(None, communicate)
    surgery = Surgery(model.encoder, tasks=TASKS)
    surgery.loss(replica(**share(batches()[0], rank))).backward()
    return calls


@check
def compressed(rank: int) -> Any:
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    model, batch = make_model(), batches(PROCESSES * BATCH)[0]
    replica = DistributedDataParallel(model)
    replica.register_comm_hook(None, default_hooks.fp16_compress_hook)
    Surgery(model.encoder, tasks=TASKS).loss(replica(**share(batch, rank))).backward()
    other = make_model()
    Surgery(other.encoder, tasks=TASKS, data_parallel=False).loss(other(**batch)).backward()
    pairs = [(p.grad, q.grad) for p, q in zip(model.parameters(), other.parameters(), strict=True)]
    return max(float((p - q).abs().max()) for p, q in pairs) / max(float(q.abs().max()) for _, q in pairs)


@check
def an_overflow_in_one_process(rank: int) -> Any:
    """The other process skips the step too, and the method's state stays, for both kinds of steps."""
    result = {}
    for method in ("gradvac", "uw"):
        model, scaler = make_model(), torch.amp.GradScaler("cpu", init_scale=1024.0)
        replica = DistributedDataParallel(model)
        surgery, optimizer = (
            Surgery(model.encoder, method, tasks=TASKS, scaler=scaler),
            torch.optim.SGD(model.parameters()),
        )
        before, start = surgery.state_dict(), fingerprint(model)
        losses = replica(**share(batches()[0], rank))
        if rank == 1:
            losses["like"] = losses["like"] * 1e36  # finite, with gradients that overflow when they are scaled
        scaler.scale(surgery.loss(losses)).backward()
        scaler.step(optimizer)
        scaler.update()
        same = repr(surgery.state_dict()) == repr(before)
        result[method] = [scaler.get_scale(), same, fingerprint(model) == start]
    return result


@check
def activation_checkpoints(rank: int) -> Any:
    warnings.filterwarnings("ignore", message=".*checkpointing.*is deprecated", category=FutureWarning)

    def setup(model: Any) -> None:
        model.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()

    return distance(train(rank, setup=setup), reference("pcgrad"))


@check
def surgery_inside_the_forward(rank: int) -> Any:
    """Lightning wraps the module whose forward is ``training_step``, so surgery runs inside the wrapper's."""

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_model(torch.float64)
            self.surgery = Surgery(self.model.encoder, "pcgrad", tasks=TASKS)

        def forward(self, batch: Any) -> torch.Tensor:
            return self.surgery.loss(self.model(**batch))

    result = []
    for unused in (False, True):
        step = Step()
        replica = DistributedDataParallel(step, find_unused_parameters=unused)
        optimizer = torch.optim.SGD(step.parameters(), lr=LR)
        for batch in batches(PROCESSES * BATCH, torch.float64)[:2]:
            replica(share(batch, rank)).backward()
            optimizer.step()
            optimizer.zero_grad()
        result.append(distance(step.model, reference("pcgrad")))
    return result


# What is refused


@check
def reentrant_checkpoints(rank: int) -> Any:
    def setup(model: Any) -> None:
        model.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        model.encoder.enable_input_require_grads()
        model.train()

    return fault(lambda: train(rank, setup=setup)), fault(lambda: train(rank, "sum", setup=setup))


def fault(function: Callable[[], Any]) -> str:
    try:
        function()
    except UsageError as error:
        return str(error)
    return "no error"


@check
def static_graph(rank: int) -> Any:
    return fault(lambda: train(rank, wrapper={"static_graph": True}))


@check
def unequal_seeds(rank: int) -> Any:
    methods = ("random", "rlw", "graddrop")
    return {name: fault(lambda name=name: train(rank, mtlbench.get_method(name, seed=rank))) for name in methods}


@check
def without_a_wrapper(rank: int) -> Any:
    model = make_model()
    surgery = Surgery(model.encoder, tasks=TASKS)
    return fault(lambda: surgery.loss(model(**batches()[0])))


@check
def accumulation_without_no_sync(rank: int) -> Any:
    return fault(lambda: train(rank, accumulate=2))


@check
def absent_in_one_process(rank: int) -> Any:
    model = make_model()
    replica = DistributedDataParallel(model)
    losses = replica(**share(batches()[0], rank))
    if rank == 1:
        losses["like"] = None
    return fault(lambda: Surgery(model.encoder, tasks=TASKS).loss(losses))


@check
def a_gradient_that_is_not_finite_in_one_process(rank: int) -> Any:
    """Both processes say so: none waits for the other."""
    result = []
    for method in ("pcgrad", "sum"):
        model = make_model()
        replica = DistributedDataParallel(model)
        surgery = Surgery(model.encoder, method, tasks=TASKS)
        losses = replica(**share(batches()[0], rank))
        if rank == 1:
            bias = model.heads["like"].bias
            losses["like"] = losses["like"] + torch.sqrt(bias - bias).sum()  # 0, with a derivative that is not finite
        with pytest.raises(NotFinite) as caught:
            surgery.loss(losses)
        result.append(["another process" in str(caught.value) or rank, all(p.grad is None for p in model.parameters())])
    return [[bool(where), clean] for where, clean in result]


@check
def sharded(rank: int) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = make_model()
    fully_shard(model, mesh=init_device_mesh("cpu", (PROCESSES,)))
    return fault(lambda: Surgery(model.encoder, tasks=TASKS))


@check
def accelerate(rank: int) -> Any:
    """The page's block, in two processes: Accelerate wraps the model, and shares out the rows."""
    namespace: dict[str, Any] = {}
    model = make_model(torch.float64, namespace)
    loader = torch.utils.data.DataLoader(rows(torch.float64), batch_size=BATCH)
    namespace |= {"model": model, "loader": loader, "optimizer": torch.optim.SGD(model.parameters(), lr=LR)}
    code = blocks()["Accelerate"][0].replace("Accelerator(", "Accelerator(cpu=True, ")
    exec(compile(code, "docs/own_loop.md", "exec"), namespace)
    assert isinstance(namespace["replica"], DistributedDataParallel)
    joined = batches(2 * PROCESSES * BATCH, torch.float64)
    return distance(model, by_hand(joined, dtype=torch.float64, clip=1.0))


@check
def trainer(rank: int) -> Any:
    """The page's block, in two processes: the Trainer wraps the model, and shares out the rows."""
    settings = {
        "max_steps": 2,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "save_strategy": "no",
    }
    with tempfile.TemporaryDirectory() as folder:
        change = {"max_steps=4, save_steps=2": "**settings"}
        names = run_block("Hugging Face Trainer", change=change, output_dir=folder, settings=settings)
    assert isinstance(names["trainer"].model_wrapped, DistributedDataParallel)
    return distance(names["model"], by_hand(batches(2 * PROCESSES * BATCH), clip=1.0))


@check
def lightning(rank: int) -> Any:
    """The page's block, in two processes: Lightning wraps the module, and shares out the rows in its own order."""
    warnings.filterwarnings("ignore", message=".*(many workers|srun.*is available|LeafSpec.*deprecated)")
    os.environ |= {"TORCHELASTIC_RUN_ID": "none", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": str(PROCESSES)}  # as torchrun
    settings = {
        "strategy": "ddp",
        "devices": PROCESSES,
        "accumulate_grad_batches": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    change = {
        "tasks=tasks)": "tasks=tasks, accumulate=2)",
        "lr=0.1": f"lr={LR}",
        "default_root_dir=output_dir": "**settings",
        "        return self.surgery": "        seen.append(batch)\n        return self.surgery",
    }
    seen: list[Any] = []
    names = run_block("Lightning", change=change, settings=settings, seen=seen)
    everywhere: list[Any] = [None] * PROCESSES
    torch.distributed.all_gather_object(everywhere, seen)
    first, second = (everywhere[0][i : i + 2] + everywhere[1][i : i + 2] for i in (0, 2))
    steps = [{name: torch.cat([batch[name] for batch in group]) for name in group[0]} for group in (first, second)]
    return distance(names["model"], by_hand(steps, clip=1.0))


if __name__ == "__main__":
    torch.multiprocessing.start_processes(work, (int(sys.argv[1]), sys.argv[2]), nprocs=PROCESSES, start_method="fork")
