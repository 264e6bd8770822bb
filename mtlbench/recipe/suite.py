"""Suites: named recipes in TOML files. A recipe is everything about a training run except method and seed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from mtlbench.contract.numerals import check_plain
from mtlbench.errors import UsageError, unknown

Sampling = Literal["uniform", "proportional", "sqrt", "annealed"]
TEXT_FIELDS = ("model", "max_length", "engine", "checkpointing", "shared_forward")
"""Fields of a recipe that have no meaning for a problem."""


def meaningful(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe that mean something for its tasks: texts have no problem, problems no encoder.

    :param recipe: field → value, as in records.
    """
    unused = ("problem",) if recipe.get("problem") is None else TEXT_FIELDS
    return {name: value for name, value in recipe.items() if name not in unused}


class Recipe(BaseModel):
    """How a cell is trained. Every field decides the result and is part of the cell's key.

    A field that has its default is left out of the key, so a field added later leaves older cells done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    tasks: tuple[str, ...] = ()
    """Specs of the tasks, in the order of the heads. With a problem: names of some of its tasks, or none for all."""
    model: str = ""
    """Spec of the encoder, for tasks on texts."""
    problem: str | None = None
    """Spec of a problem that brings its own data and model, in place of tasks on texts and their encoder."""
    steps: Annotated[int | None, Field(ge=1)] = None
    """Optimizer steps; each takes one batch of every task."""
    epochs: Annotated[int | None, Field(ge=1)] = None
    """Passes over the largest task's training rows, given in place of steps."""
    batch_size: Annotated[int, Field(ge=1)]
    """Rows per task and step."""
    lr: Annotated[float, Field(gt=0)]
    """Highest learning rate, unless a method has one of its own (``base_lr``)."""
    lr_schedule: Literal["constant", "linear"] = "constant"
    """"linear": the learning rate rises over the first tenth of the steps, then falls to zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's weight decay, on matrices only: biases and layer norms are not decayed."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Longest text, in tokens; longer ones are cut."""
    evaluations: Annotated[int, Field(ge=1)] = 1
    """Evaluations on the development rows, evenly spaced. The last one, after the last step, is the score."""
    dev_limit: Annotated[int | None, Field(ge=2)] = None
    """Most development rows per task: a fixed random choice, the same for every seed and method."""
    test_rows: Annotated[int | None, Field(ge=2)] = None
    """Training rows per task that are carved off before training and scored once, after the last step: a fixed random
    choice of whole groups of rows that share a text."""
    sampling: Sampling = "uniform"
    """How a step's rows are shared among the tasks: equally, or by the sizes of their training sets. A task's loss is
    the sum over its rows over ``batch_size``, so that a task with twice the rows weighs twice as much."""
    shared_forward: bool = False
    """Tasks with the same training texts share every batch and its forward pass; other tasks keep batches of their own.
    A problem's tasks share theirs anyway."""
    head_steps: Annotated[int, Field(ge=0)] = 0
    """First steps, which train the heads alone: Kumar et al., Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution, ICLR 2022 (LP-FT), where the first phase is trained to the end."""
    measure_every: Annotated[int, Field(ge=1)] = 10
    """Steps from one recording of gradient norms and cosines to the next."""
    update_norm: Literal["native", "sum"] = "native"
    """"sum": every method's shared update is scaled to the norm of the plain sum Σ gᵢ, so that a learning rate means
    the same for all; "native": the update stays as the method returns it."""
    engine: Literal["auto", "packed", "lean", "loop"] = "auto"
    """How task gradients are computed. "auto" is loop where the encoder cannot be packed; elsewhere packed, or lean
    where few tokens or many tasks make lean cheaper or packed's buffer too large. Engines differ in the last bits
    only."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Equal parts of every batch, processed one after another: the activations of one part are in memory at a time. The
    step is that of the whole batch, except the last bits and the dropout masks: every part has its own masks."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the forward pass and of the products in the backward pass (autocast; float16 with loss scaling).
    Parameters, norms, losses, task gradients, their inner products, updates and evaluations are always float32."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Processes that share the rows of every batch, each with ``threads`` threads. The step is that of as many parts by
    ``accumulate``, dropout masks included, except the last bits. Times and peak memory are those of process 0."""
    checkpointing: bool = False
    """Keep only the inputs of the encoder's layers, and compute the rest again in the backward pass: less memory, more
    time, the same step."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads per process. Another number gives other last bits, so it belongs to the recipe."""
    device: str = "cpu"
    """Device: ``cpu``, ``cuda`` or ``cuda:N``."""
    version: Annotated[int, Field(ge=1)] = 1
    """Version of the suite: raised by its author when its earlier cells must not count any more."""

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that decide results, as plain data. That the device is a GPU counts, not which GPU.

        Fields with their defaults are left out, so that a field added later leaves older cells done. Data and model are
        left out too: the problem has an identity of its own.
        """
        recipe = self.model_copy(update={"device": self.device.partition(":")[0]})
        return recipe.model_dump(mode="json", exclude_defaults=True, exclude={"model", "problem"})

    @property
    def parts(self) -> int:
        """Equal parts of every batch, over all processes."""
        return self.accumulate * self.processes

    @field_validator("*", mode="wrap")
    @classmethod
    def _plain_numbers(cls, written: Any, read: ValidatorFunctionWrapHandler) -> Any:
        value = read(written)
        check_plain(written, value)
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Recipe:
        if self.problem is None and not (self.tasks and self.model):
            raise ValueError("give tasks and a model, or a problem")
        if self.problem is not None and self.model:
            raise ValueError(f"problem={self.problem} brings its own model: leave model out")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> Recipe:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.epochs is not None and self.sampling != "uniform":
            raise ValueError(f"sampling={self.sampling} needs steps in place of epochs: passes differ between tasks")
        if self.steps is not None and self.head_steps >= self.steps:
            raise ValueError(f"head_steps={self.head_steps} leaves none of {self.steps} steps to the encoder")
        return self

    @model_validator(mode="after")
    def _equal_parts(self) -> Recipe:
        counts = {"accumulate": self.accumulate, "processes": self.processes}
        given = " × ".join(f"{name}={value}" for name, value in counts.items() if value > 1)
        if self.batch_size % self.parts:
            raise ValueError(f"{given} does not divide batch_size={self.batch_size}")
        if self.parts > 1 and self.engine == "lean":
            raise ValueError(f"engine=lean keeps all rows until the weights are known: {given} needs engine=packed")
        if self.processes > 1 and self.device.startswith("cuda:"):
            raise ValueError(f"processes={self.processes} use one GPU each: give device=cuda, not {self.device}")
        return self

    @model_validator(mode="after")
    def _shared_forward(self) -> Recipe:
        if not self.shared_forward:
            return self
        if self.problem is not None:
            raise ValueError("shared_forward is for tasks on texts: a problem's tasks share forward passes anyway")
        if self.sampling != "uniform":
            raise ValueError(f"shared_forward needs sampling=uniform: with {self.sampling}, tasks have other rows")
        if self.engine != "auto":
            raise ValueError(f"shared_forward has an engine of its own: give engine=auto, not {self.engine}")
        return self


class Suite(Recipe):
    """A recipe with a name and the grid that it is meant for, as in a TOML file.

    Its author raises ``version``, which is 1 unless the file sets it, to make every cell of the suite train again: the
    version is part of the keys.
    """

    name: str
    description: str
    methods: tuple[str, ...]
    seeds: Annotated[int, Field(ge=1, le=10_000)]

    def recipe(self, changes: dict[str, Any]) -> Recipe:
        """Return the suite's recipe with some fields changed from the command line.

        :param changes: field → value; steps replace the suite's epochs.
        :raises UsageError: for a value out of its range.
        """
        fields = {name: getattr(self, name) for name in Recipe.model_fields}
        if changes.get("steps") is not None:
            fields["epochs"] = None
        return validated(Recipe, {**fields, **changes}, "option")


def packaged_suites() -> dict[str, Path]:
    """Return name → file of every suite in the package."""
    folder = Path(str(files("mtlbench") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_suite(name: str | Suite) -> Suite:
    """Load a packaged suite by its name, or another from its ``.toml`` file.

    :param name: the name, or the path of the file; a suite is returned as it is.
    :raises UsageError: for an unknown name, a file that is not TOML, an unknown key, or a value out of range.
    """
    if isinstance(name, Suite):
        return name
    packaged = packaged_suites()
    path = packaged.get(name, Path(name))
    if not path.is_file():
        if path.suffix == ".toml":
            raise UsageError(f"suite file {name} does not exist")
        raise unknown("suite", name, packaged)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None
    for key in content:
        if key not in Suite.model_fields:
            raise unknown(f"key of suite {path.name}:", key, Suite.model_fields)
    return validated(Suite, {"name": path.stem, **content}, f"{path.name}:")


def validated(cls: type[Any], fields: dict[str, Any], where: str) -> Any:
    """Make a recipe or a suite.

    :param cls: :class:`Recipe` or :class:`Suite`.
    :param fields: its fields.
    :param where: where they are from, for the error message.
    :raises UsageError: for a value out of range, or fields that contradict each other.
    """
    try:
        return cls(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
        given = f"={first['input']}" if name and first["type"] != "missing" else ""
        raise UsageError(f"{where} {name}{given} {reason}".replace("  ", " ")) from None
