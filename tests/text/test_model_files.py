"""Folders of models: damaged, incomplete, in other formats; and their tokenizers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folders import POSITIONS, VOCABULARY, WORDS, write_folder, write_model, write_tokenizer

from mtlbench.engine.packed.pack import Pack
from mtlbench.errors import UsageError
from mtlbench.text.encoder import Encoder
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.model_config import ModelConfig
from mtlbench.text.model_files import fingerprint, tokenizer_files
from mtlbench.text.model_trial import try_model
from mtlbench.text.pretrained import load_encoder
from mtlbench.text.tokens import Tokenizer


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model, whose tokenizer has no marks, as GPT-2's."""
    folder = write_model(tmp_path_factory.mktemp("gpt2"), "gpt2")
    return write_tokenizer(folder, first=False, separators=False)


@pytest.fixture
def bert(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy of the tests' BERT, to be damaged."""
    return shutil.copytree(tiny_bert, tmp_path / "bert")


def tried(spec: str, *, pairs: bool = True, max_length: int = 32) -> object:
    encoder = Encoder.parse(spec)
    return try_model(encoder, encoder.locate(), max_length, pairs=pairs)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def as_pointer(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"model.safetensors is truncated: \d+ bytes of \d+"),
        (as_pointer, "is a pointer of Git LFS"),
        (lambda file: file.write_bytes(b""), "not a whole safetensors file"),
        (lambda file: file.write_bytes(b"\xff" * 4000), "not a whole safetensors file"),
        (lambda file: file.write_bytes((2).to_bytes(8, "little") + b"[]"), "not a whole safetensors file"),
        (lambda file: file.write_bytes(file.read_bytes() + b"more"), "is truncated"),
        (lambda file: file.rename(file.with_name("weights.safetensors")), "has weights.safetensors and neither"),
        (
            lambda file: file.rename(file.with_name("pytorch_model.bin")),
            r"pytorch_model.bin, a pickle.*save_pretrained",
        ),
        (lambda file: file.rename(file.with_name("model.onnx")), r"model.onnx \(ONNX\).*save_pretrained"),
        (lambda file: file.rename(file.with_name("tf_model.h5")), r"tf_model.h5 \(TensorFlow\)"),
        (lambda file: file.rename(file.with_name("q4.gguf")), r"q4.gguf \(GGUF\)"),
        (lambda file: file.rename(file.with_name("flax_model.msgpack")), r"flax_model.msgpack \(Flax\)"),
        (lambda file: file.rename(file.with_name("adapter_config.json")), "an adapter, not a whole model"),
    ],
)
def test_weights_that_cannot_be_read_are_one_line(damage: Callable[[Path], object], message: str, bert: Path) -> None:
    damage(bert / "model.safetensors")
    with pytest.raises(UsageError, match=message) as caught:
        Encoder.parse(str(bert)).locate()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "has no weight_map"),
        ("[]", "has no weight_map"),
        ('{"weight_map": [1]}', "has no weight_map"),
        (
            '{"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}',
            "names part-2.safetensors, which is missing",
        ),
        ('{"weight_map": {"a": "../part-1.safetensors"}}', "which is not a file beside it"),
        ('{"weight_map": {"a": 7}}', "names 7, which is not a file beside it"),
    ],
)
def test_an_index_of_missing_parts_is_one_line(index: str, message: str, bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "part-1.safetensors")
    (bert / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UsageError, match=message):
        Encoder.parse(str(bert)).locate()


def test_weights_in_parts_of_any_name_are_read_and_hashed(bert: Path) -> None:
    from safetensors.torch import load_file, save_file

    whole = load_encoder(encoder := Encoder.parse(str(bert)), encoder.locate(), 0).state_dict()
    weights = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"head.safetensors": names[:5], "tail.safetensors": names[5:]}
    for file, some in parts.items():
        save_file({name: weights[name] for name in some}, bert / file, metadata={"format": "pt"})
    table = {name: file for file, some in parts.items() for name in some}
    (bert / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    files = encoder.locate()
    loaded = load_encoder(encoder, files, 0).state_dict()
    assert all(bool((loaded[name] == tensor).all()) for name, tensor in whole.items())
    save_file({name: weights[name] + 1 for name in names[5:]}, bert / "tail.safetensors", metadata={"format": "pt"})
    assert (bert / "tail.safetensors").stat().st_size > 0
    assert fingerprint([bert / "config.json"]) != files.fingerprint


@pytest.mark.parametrize(
    ("family", "kind"),
    [("bert", "AutoModelForSequenceClassification"), ("xlm-roberta", "AutoModelForMaskedLM"),
     ("electra", "AutoModelForTokenClassification"), ("gpt2", "AutoModelForCausalLM")],
)  # fmt: skip
def test_checkpoints_with_heads_give_their_encoder(family: str, kind: str, tmp_path: Path) -> None:
    import transformers

    folder = write_folder(tmp_path / "model", family)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    whole = getattr(transformers, kind).from_config(config)
    whole.save_pretrained(folder)
    spec = f"{folder}[pooling=mean]"
    assert tried(spec)
    encoder = Encoder.parse(spec)
    loaded = dict(load_encoder(encoder, encoder.locate(), 0).named_parameters())
    base = dict(whole.base_model.named_parameters())
    assert all(bool((tensor == base[name]).all()) for name, tensor in loaded.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_trained_in_single(dtype: torch.dtype, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_folder(tmp_path / "model", "electra", torch_dtype=str(dtype).removeprefix("torch."))
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = Encoder.parse(str(folder))
    assert tried(str(folder))
    assert {tensor.dtype for tensor in load_encoder(encoder, encoder.locate(), 0).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", r"not a JSON object with a model's settings, but \[\]"),
        ('"bert"', "not a JSON object"),
        ("null", "not a JSON object"),
        ("{", "is not JSON"),
        ("\xff", "is not JSON"),
        ("{}", "has no model_type"),
        ('{"model_type": "bert", "max_position_embeddings": "many"}', "max_position_embeddings is 'many', not a whole"),
        ('{"model_type": "roberta", "n_positions": 2.5}', r"n_positions is 2\.5, not a whole number"),
        ('{"model_type": "bert", "is_decoder": true}', "set is_decoder and add_cross_attention to false"),
        ('{"model_type": "camembert", "add_cross_attention": true}', "set up as a decoder"),
        ('{"model_type": "bert", "position_embedding_type": "relative_key"}', "'relative_key' positions"),
        ('{"model_type": "own", "is_encoder_decoder": true}', "is an encoder-decoder"),
        ('{"model_type": "pegasus"}', "is an encoder-decoder"),
        ('{"model_type": "encoder-decoder", "encoder": {}, "decoder": {}}', "is an encoder-decoder"),
        ('{"model_type": "vision-text-dual-encoder", "text_config": {}, "vision_config": {}}', "several models"),
        ('{"model_type": "clap", "text_config": {}, "audio_config": {}}', "several models"),
    ],
)
def test_configurations_that_are_no_text_encoders_are_one_line(config: str, message: str, bert: Path) -> None:
    (bert / "config.json").write_text(config, encoding="latin-1")
    with pytest.raises(UsageError, match=message):
        Encoder.parse(str(bert)).locate()


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        ({"model_type": "gpt2", "n_positions": 7}, 7),
        ({"model_type": "mpt", "max_seq_len": 9}, 9),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "longformer", "max_position_embeddings": 4098, "pad_token_id": 1}, 4096),
        ({"model_type": "markuplm", "max_position_embeddings": 514, "pad_token_id": 0}, 513),
        ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, 512),
    ],
)
def test_positions_are_named_and_counted_in_many_ways(settings: dict[str, object], longest: int) -> None:
    assert ModelConfig("a model", settings).longest == longest


@pytest.mark.parametrize("settings", [{"max_position_embeddings": -1}, {"max_position_embeddings": 0}, {}])
def test_no_positions_are_no_limit(settings: dict[str, int]) -> None:
    assert ModelConfig("a model", {"model_type": "xlnet", **settings}).longest > 1_000_000


def test_packed_positions_count_from_any_padding_token(tmp_path: Path) -> None:
    """What the packed engine computes is what transformers computes, whatever the number of the padding token."""
    folder = write_folder(tmp_path / "roberta", "roberta", pad_token_id=0)
    encoder = Encoder.parse(f"{folder}[pooling=mean]")
    model = MultiTaskModel(encoder, encoder.locate(), [], 0).eval()
    plain = load_encoder(encoder, encoder.locate(), 0).eval()
    tokens = Tokenizer(encoder, encoder.locate(), 32).encode([("the dog runs", "a cat")]).take(np.array([0]))
    with torch.inference_mode():
        ours = model.pooled(Pack.of([tokens], "cpu"))
        theirs = plain(input_ids=torch.from_numpy(tokens.ids).unsqueeze(0)).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(ours, theirs)


def test_the_maximal_length_is_really_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a family that counts positions in a way that nobody wrote down here."""
    monkeypatch.setattr("mtlbench.text.model_config.COUNTS_FROM_PADDING", set())
    folder = write_folder(tmp_path / "mpnet", "mpnet")
    assert tried(str(folder), max_length=POSITIONS - 2)
    with pytest.raises(UsageError, match=r"cannot encode a text of 39 tokens \(.*give a smaller max_length"):
        tried(str(folder), max_length=POSITIONS - 1)


def test_the_usual_folders_keep_their_fingerprint(bert: Path) -> None:
    before = Encoder.parse(str(bert)).locate().fingerprint
    files = [bert / name for name in ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")]
    assert before == fingerprint(files)
    for name in ("special_tokens_map.json", "spm.model", "sentencepiece.bpe.model", "added_tokens.json"):
        (bert / name).write_text("{}")
    assert Encoder.parse(str(bert)).locate().fingerprint == before


@pytest.mark.parametrize("name", ["spm.model", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"])
def test_a_vocabulary_of_sentencepiece_alone_counts(name: str, bert: Path) -> None:
    (bert / "vocab.txt").unlink()
    (bert / name).write_text("one")
    first = Encoder.parse(str(bert)).locate().fingerprint
    shutil.copytree(bert, other := bert.with_name("other"))
    (other / name).write_text("two")
    assert Encoder.parse(str(other)).locate().fingerprint != first
    assert other / name in tokenizer_files(other)


def test_no_tokenizer_is_one_line(tmp_path: Path) -> None:
    """Transformers would make one that knows no word, and every text the same."""
    for family in ("bert", "roberta"):
        with pytest.raises(UsageError, match=r"there is no tokenizer in .*copy the model's own"):
            tried(str(write_model(tmp_path / family, family)))


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "1.0", "model": {"type": "Unknown"}}', ""])
def test_a_damaged_tokenizer_is_one_line(content: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "electra")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UsageError, match="tokenizer in") as caught:
        tried(str(folder))
    assert "\n" not in str(caught.value)


def test_texts_are_not_joined_without_a_mark(gpt2: Path, tmp_path: Path) -> None:
    other = write_tokenizer(write_model(tmp_path / "electra", "electra"), separators=False)
    for folder in (gpt2, other):
        with pytest.raises(UsageError, match=r"no separator between two texts.*write .*pairs=apart.*\]$"):
            tried(f"{folder}[pooling=mean]")
        assert tried(f"{folder}[pooling=mean,pairs=apart]")
        assert tried(f"{folder}[pooling=mean]", pairs=False)


def test_a_first_word_is_not_taken_for_cls(gpt2: Path, tmp_path: Path) -> None:
    other = write_tokenizer(write_model(tmp_path / "roberta", "roberta"), first=False)
    with pytest.raises(UsageError, match=r"puts no \[CLS\] token before a text.*write .*pooling=mean\]$"):
        tried(str(other))
    with pytest.raises(UsageError, match=r"pooling=cls would take one word alone: write .*pooling=last\]$"):
        tried(f"{gpt2}[pooling=cls]")


@pytest.mark.parametrize(("more", "fits"), [((), True), (("zebra",), False), (("new", "newer"), False)])
def test_tokens_without_vectors_are_named(more: tuple[str, ...], fits: bool, tmp_path: Path) -> None:
    folder = write_tokenizer(write_model(tmp_path / "model", "distilbert"), more=more)
    if fits:
        assert tried(str(folder))
        return
    with pytest.raises(UsageError, match=f"token '{more[0]}', number {VOCABULARY}"):
        tried(str(folder))


def test_added_tokens_without_vectors_are_named(bert: Path) -> None:
    (bert / "vocab.txt").write_text((bert / "vocab.txt").read_text() + "zebra\n")
    with pytest.raises(UsageError, match=r"token 'zebra', number 19, .* 19 tokens only: resize its embeddings"):
        tried(str(bert))


def test_a_text_with_a_padding_token_that_has_no_vector_is_one_line(gpt2: Path, tmp_path: Path) -> None:
    """As people add [PAD] to GPT-2: no text has it, so that the folder is fine, until one does."""
    folder = shutil.copytree(gpt2, tmp_path / "gpt2")
    about = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**about, "pad_token": "[NEWPAD]"}))
    write_more = json.loads((folder / "tokenizer.json").read_text())
    write_more["model"]["vocab"]["[NEWPAD]"] = VOCABULARY
    (folder / "tokenizer.json").write_text(json.dumps(write_more))
    spec = f"{folder}[pooling=mean,pairs=apart]"
    assert tried(spec)
    encoder = Encoder.parse(spec)
    with pytest.raises(UsageError, match=r"a text has the token '\[NEWPAD\]', number 60"):
        Tokenizer(encoder, encoder.locate(), 32).encode([("the dog [NEWPAD]",)])


def test_a_tokenizer_without_a_padding_token_serves(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "bert")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert tried(str(folder))


@pytest.mark.parametrize("kind", ["BertweetTokenizer", "BertTokenizerLegacy"])
def test_tokenizers_in_python_cut_and_count_as_the_others(kind: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "roberta", pad_token_id=1)
    about = {"tokenizer_class": kind}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    if kind == "BertweetTokenizer":
        (folder / "vocab.txt").write_text("".join(f"{word} {number}\n" for number, word in enumerate(WORDS)))
        (folder / "bpe.codes").write_text("#version: 0.2\nt h 1\n")
    else:
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    encoder = Encoder.parse(str(folder))
    tokenizer = Tokenizer(encoder, encoder.locate(), 12)
    if tokenizer.of_model.is_fast:
        pytest.skip("this transformers has it in Rust")
    tokens = tokenizer.encode([("a", "the"), ("the dog runs " * 9, "a cat"), ("a", "the " * 30)])
    assert tokens.cut == 2 and len(tokens) == 3
    assert tokens.lengths().max() == 12
    assert tried(str(folder), max_length=12)
