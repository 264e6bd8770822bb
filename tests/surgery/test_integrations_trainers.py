"""The page docs/own_loop.md: Accelerate, the Hugging Face Trainer and Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from own_loop_page import BATCH, LR, TASKS, batches, by_hand, distance, make_model, rows, run_block

from mtlbench import Surgery

SCALER = '{0}.native_amp = True\n{0}.scaler = torch.amp.GradScaler("cpu", init_scale={1})\n'
"""Lines that give Accelerate, on the CPU, what it has on a GPU with float16."""


# Accelerate


@pytest.fixture
def _fresh_accelerator() -> Iterator[None]:
    state = pytest.importorskip("accelerate.state", reason="extra 'integrations'")
    state.AcceleratorState._reset_state(True)
    state.GradientState._reset_state()
    yield
    state.AcceleratorState._reset_state(True)
    state.GradientState._reset_state()


@pytest.mark.usefixtures("_fresh_accelerator")
def test_accelerate() -> None:
    model = run_block("Accelerate", change={"Accelerator(": "Accelerator(cpu=True, "})["model"]
    assert distance(model, by_hand(batches(2 * BATCH), clip=1.0)) < 1e-4
    assert distance(model, by_hand(batches(), clip=1.0)) > 1e-2


@pytest.mark.usefixtures("_fresh_accelerator")
def test_accelerate_in_bfloat16_and_on_every_micro_batch() -> None:
    change = {"Accelerator(": "Accelerator(cpu=True, ", '"no")  # or "bf16", "fp16"': '"bf16")'}
    change |= {"gradient_accumulation_steps=2": "gradient_accumulation_steps=1", "accumulate=2, ": ""}
    names = run_block("Accelerate", change=change)
    reference = by_hand(batches(), clip=1.0, autocast=torch.bfloat16)
    assert distance(names["model"], reference) < 1e-3
    assert distance(reference, by_hand(batches(), clip=1.0)) > 1e-3


@pytest.mark.usefixtures("_fresh_accelerator")
def test_accelerate_in_float16() -> None:
    """The scaler that Accelerate has on a GPU, here on the CPU: it skips the first step, and trains on."""
    change = {
        "Accelerator(": "Accelerator(cpu=True, ",
        '"no")  # or "bf16", "fp16"': '"fp16")\n' + SCALER.format("accelerator", 2.0**40),
        "        optimizer.step()": "        before = scale_of(accelerator)\n"
        "        optimizer.step()\n"
        "        if accelerator.sync_gradients and number == 0:\n"
        "            accelerator.scaler.update(2.0**12)\n"
        "            number = 1",
    }
    scales: list[float] = []
    model = run_block("Accelerate", change=change, number=0, scale_of=lambda a: scales.append(a.scaler.get_scale()))[
        "model"
    ]
    assert scales[:4] == [2.0**40, 2.0**40, 2.0**12, 2.0**12]
    assert distance(model, by_hand(batches(2 * BATCH)[1:], clip=1.0, autocast=torch.float16)) < 1e-2


# Trainer


def train(
    folder: Path,
    *,
    method: str = "pcgrad",
    accumulation: int = 2,
    change: dict[str, str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    pytest.importorskip("accelerate", reason="the Trainer needs it: extra 'integrations'")
    settings = {
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_strategy": "no",
        **options,
    }
    return run_block(
        "Hugging Face Trainer",
        change={
            "save_steps=2": "save_steps=2, **settings",
            "accumulation_steps=2": f"accumulation_steps={accumulation}",
            '"pcgrad"': f'"{method}"',
            **(change or {}),
        },
        output_dir=folder,
        settings=settings,
    )


def test_trainer_with_accumulation(tmp_path: Path) -> None:
    model = train(tmp_path)["model"]
    assert distance(model, by_hand(batches(2 * BATCH), clip=1.0)) < 1e-4


def test_trainer_with_surgery_on_every_micro_batch(tmp_path: Path) -> None:
    line = "self.surgery.accumulate = self.current_gradient_accumulation_steps"
    model = train(tmp_path, change={line: "pass"})["model"]
    other = make_model()
    surgery, optimizer = Surgery(other.encoder, "pcgrad", tasks=TASKS), torch.optim.SGD(other.parameters(), lr=LR)
    for number, batch in enumerate(batches(), start=1):
        (surgery.loss(other(**batch)) / 2).backward()
        if number % 2 == 0:
            torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    assert distance(model, other) < 1e-4


def test_the_last_step_of_an_epoch_has_fewer_micro_batches(tmp_path: Path) -> None:
    """Eight micro-batches in steps of three: the Trainer's last step of an epoch has two, and divides by two."""
    model = train(tmp_path, accumulation=3, change={"max_steps=4": "num_train_epochs=2"})["model"]
    small = batches()
    groups = [small[0:3], small[3:6], small[6:8]] * 2
    steps = [{name: torch.cat([batch[name] for batch in group]) for name in group[0]} for group in groups]
    assert distance(model, by_hand(steps, clip=1.0)) < 1e-3


@pytest.mark.parametrize("bf16", [False, True])
def test_trainer_resumes(tmp_path: Path, bf16: bool) -> None:
    whole = train(tmp_path, method="gradvac", bf16=bf16)
    assert repr(whole["surgery"].state_dict()) != repr(torch.load(tmp_path / "checkpoint-2" / "surgery.pt"))
    resumed = train(
        tmp_path,
        method="gradvac",
        bf16=bf16,
        change={"trainer.train()": f'trainer.train(resume_from_checkpoint="{tmp_path}/checkpoint-2")'},
    )
    assert resumed["trainer"].state.global_step == 4
    pairs = zip(whole["model"].parameters(), resumed["model"].parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    if bf16:
        reference = by_hand(batches(2 * BATCH), "gradvac", clip=1.0, autocast=torch.bfloat16)
        assert distance(whole["model"], reference) < 0.05


def test_trainer_in_float16(tmp_path: Path) -> None:
    """The scaler that the Trainer has on a GPU, here on the CPU."""
    scaler = SCALER.format("trainer.accelerator", 2.0**12) + "trainer.train()"
    names = train(tmp_path, change={"trainer.train()": scaler}, fp16=True)
    assert names["surgery"].scaler is names["trainer"].accelerator.scaler
    assert distance(names["model"], by_hand(batches(2 * BATCH), clip=1.0, autocast=torch.float16)) < 1e-2


def test_trainer_evaluates_with_the_sum_and_its_loss_is_not_scaled_by_the_forwards_signature(tmp_path: Path) -> None:
    """A forward with ``**kwargs`` and labels: by itself the Trainer would not divide the loss."""
    names = train(
        tmp_path,
        remove_unused_columns=False,
        max_grad_norm=0.0,  # clipping would hide a factor
        change={
            "arguments = Training": "class Open(Model):\n"
            "    def forward(self, labels=None, **inputs):\n"
            "        inputs.pop('num_items_in_batch', None)\n"
            "        return super().forward(**inputs)\n\n"
            "model.__class__ = Open\n"
            "dataset = [{**row, 'labels': row['mood']} for row in dataset]\n"
            "arguments = Training",
            "train_dataset=dataset": "train_dataset=dataset, eval_dataset=dataset",
        },
    )
    assert distance(names["model"], by_hand(batches(2 * BATCH))) < 1e-4
    trainer, batch = names["trainer"], batches(len(rows()))[0]
    assert trainer.surgery.accumulate == 2
    model = names["model"].eval()
    with torch.no_grad():
        loss = trainer.compute_loss(model, dict(batch))
        assert float(loss) == pytest.approx(sum(float(value) for value in model(**batch).values()), rel=1e-6)


# Lightning

lightning_filters = [
    pytest.mark.filterwarnings("ignore:.*srun.*command is available"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
]


def lightning(function: Any) -> Any:
    for mark in lightning_filters:
        function = mark(function)
    return function


def fit(folder: Path, change: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    pytest.importorskip("lightning", reason="extra 'integrations'")
    settings = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, **options}
    settings["enable_checkpointing"] = False
    return run_block(
        "Lightning",
        change={
            "lr=0.1": f"lr={LR}",
            "default_root_dir=output_dir": "default_root_dir=output_dir, **settings",
            **(change or {}),
        },
        output_dir=folder,
        settings=settings,
    )


@lightning
def test_lightning(tmp_path: Path) -> None:
    model = fit(tmp_path)["model"]
    assert distance(model, by_hand(batches(), clip=1.0)) < 1e-4


@lightning
def test_lightning_with_accumulation_in_bfloat16(tmp_path: Path) -> None:
    change = {"tasks=tasks)": "tasks=tasks, accumulate=2)"}
    model = fit(tmp_path, change, accumulate_grad_batches=2, precision="bf16-mixed")["model"]
    reference = by_hand(batches(2 * BATCH), clip=1.0, autocast=torch.bfloat16)
    assert distance(model, reference) < 0.05
    assert distance(model, by_hand(batches(), clip=1.0, autocast=torch.bfloat16)) > 0.1


@lightning
def test_lightning_in_float16(tmp_path: Path) -> None:
    plugins = pytest.importorskip("lightning.pytorch.plugins", reason="extra 'integrations'")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    names = fit(tmp_path, plugins=[plugins.MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    assert names["module"].surgery.scaler is scaler and scaler.get_scale() == 2.0**12
    assert distance(names["model"], by_hand(batches(), clip=1.0, autocast=torch.float16)) < 1e-2


@lightning
def test_lightning_resumes(tmp_path: Path) -> None:
    change = {'"pcgrad"': '"gradvac"', "max_epochs=1": "max_epochs=2"}
    whole = fit(tmp_path, change)
    half = fit(tmp_path, {'"pcgrad"': '"gradvac"'})
    half["trainer"].save_checkpoint(tmp_path / "half.ckpt")
    resumed = fit(
        tmp_path / "resumed", change | {"module, loader)": f'module, loader, ckpt_path="{tmp_path}/half.ckpt")'}
    )
    pairs = zip(whole["model"].parameters(), resumed["model"].parameters(), strict=True)
    assert resumed["trainer"].global_step == 16 and all(torch.equal(p, q) for p, q in pairs)


@lightning
def test_lightning_with_manual_optimization(tmp_path: Path) -> None:
    step = (
        "        self.manual_backward(self.surgery.loss(self.model(**batch)))\n"
        "        self.optimizers().step()\n"
        "        self.optimizers().zero_grad()\n"
    )
    change = {
        "        return self.surgery.loss(self.model(**batch))\n": step,
        "        self.model = model\n": "        self.model = model\n        self.automatic_optimization = False\n",
        "gradient_clip_val=1.0, ": "",
    }
    assert distance(fit(tmp_path, change)["model"], by_hand(batches())) < 1e-4
