"""The example for CelebA, on a few images made in its layout: the real ones are not free to pass on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from problem_steps import check_seeded, check_step, fault_of

from mtlbench import Problem, UsageError
from mtlbench.plugins.registry import import_file, load_registry

FILE = str(Path(__file__).parents[2] / "examples" / "celeba.py")
COUNT = 12


@pytest.fixture(scope="module")
def celeba() -> Any:
    return import_file(FILE)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, celeba: Any) -> Path:
    """Twelve images, of which the first six are for training: image i is grey, 20 i, with a white corner."""
    folder = tmp_path_factory.mktemp("celeba")
    (folder / "img_align_celeba").mkdir()
    labels, partition = [str(COUNT), " ".join(celeba.ATTRIBUTES)], []
    values = np.random.default_rng(0).choice([-1, 1], size=(COUNT, 40))
    for number in range(COUNT):
        name = f"{number + 1:06d}.jpg"
        pixels = np.full((218, 178, 3), 20 * number, np.uint8)
        pixels[:10, :10] = 255
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name, quality=95)
        labels.append(f"{name}  " + " ".join(f"{value:2d}" for value in values[number]))
        partition.append(f"{name} {number // 6 + (number > 8)}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(labels) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(original, tmp_path / "celeba"))


def make(size: int = 16, width: int = 8) -> Problem:
    return load_registry((FILE,)).problem(f"celeba[size={size},width={width}]")


def test_splits_labels_and_pixels(original: Path) -> None:
    data = make().load(original)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 6, "dev": 3, "test": 3}
    lines = (original / "list_attr_celeba.txt").read_text().splitlines()
    names, rows = lines[1].split(), [line.split() for line in lines[2:]]
    assert [target.name for target in make().targets()] == names and len(names) == 40
    first = {"train": 0, "dev": 6, "test": 9}
    for split, part in data.splits.items():
        for place, name in enumerate(names):
            expected = [int(row[1 + place] == "1") for row in rows[first[split] : first[split] + len(part)]]
            assert part.labels[name].tolist() == expected
        images = part.take(np.array([2, 0]))
        assert images.shape == (2, 3, 16, 16) and images.dtype == torch.float32
        grey = [20.0 * (first[split] + number) / 127.5 - 1.0 for number in (2, 0)]
        for image, value in zip(images, grey, strict=True):  # the white corner lies outside the square in the middle
            torch.testing.assert_close(image, torch.full((3, 16, 16), value), atol=0.03, rtol=0.0)


def test_images_of_other_sizes_and_modes_are_read_too(folder: Path) -> None:
    for size, mode in (((30, 50), "L"), ((50, 20), "RGBA"), ((1, 1), "P")):
        Image.new(mode, size, 0).save(folder / "img_align_celeba" / "000001.jpg", format="PNG")
        assert make().load(folder).train.take(np.array([0])).shape == (1, 3, 16, 16)


def test_a_step_of_forty_tasks(original: Path, celeba: Any) -> None:
    problem = make()
    check_step(problem, problem.load(original), celeba.ATTRIBUTES, rows=6)
    check_step(problem, problem.load(original), ("Male", "Smiling"), "sum", rows=6)


def test_weights_depend_on_the_seed() -> None:
    check_seeded(make())


def test_the_fingerprint_is_the_same_each_time_and_changes_with_images_labels_and_size(folder: Path) -> None:
    fingerprints = [make().load(folder).fingerprint, make(size=17).load(folder).fingerprint]
    assert make(width=16).load(folder).fingerprint == fingerprints[0]
    Image.new("RGB", (178, 218), 7).save(folder / "img_align_celeba" / "000003.jpg")
    fingerprints.append(make().load(folder).fingerprint)
    labels = folder / "list_attr_celeba.txt"
    labels.write_text(labels.read_text().replace(" -1\n", "  1\n"))
    fingerprints.append(make().load(folder).fingerprint)
    assert len(set(fingerprints)) == 4


BAD_LINES = {
    "too few values": (
        "list_attr_celeba.txt",
        4,
        "000003.jpg 1 -1",
        "line 5: 2 values, not 40, for image '000003.jpg'",
    ),
    "an empty line": ("list_attr_celeba.txt", 4, "", "line 5: 0 values, not 40, for image ''"),
    "another value": ("list_attr_celeba.txt", 2, "000001.jpg" + " 0" * 40, "line 3, 5_o_Clock_Shadow: '0' should be 1"),
    "another name": ("list_attr_celeba.txt", 1, "Male Young", "line 2: the names of CelebA's 40 attributes should"),
    "another number": ("list_attr_celeba.txt", 0, "13", "line 1: it announces 13 images, but 12 follow"),
    "a second line": (
        "list_attr_celeba.txt",
        3,
        "000001.jpg" + " 1" * 40,
        "line 4: image 000001.jpg stands here a sec",
    ),
    "another split": (
        "list_eval_partition.txt",
        2,
        "000003.jpg 3",
        "line 3: '000003.jpg 3' should be an image and 0, 1",
    ),
    "no split": ("list_eval_partition.txt", 2, "000003.jpg", "line 3: '000003.jpg' should be an image and 0, 1 or 2"),
    "an image twice": (
        "list_eval_partition.txt",
        2,
        "000001.jpg 0",
        "line 3: image 000001.jpg stands here a second time",
    ),
    "an unknown image": ("list_eval_partition.txt", 2, "99.jpg 0", "does not have image"),
}


@pytest.mark.parametrize(("file", "place", "line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named(folder: Path, file: str, place: int, line: str, reason: str) -> None:
    lines = (folder / file).read_text().splitlines()
    lines[place] = line
    (folder / file).write_text("\n".join(lines) + "\n")
    fault = fault_of(make(), folder)
    assert reason in fault and (file in fault or "unknown" in reason or "does not have" in reason)


def test_missing_files(folder: Path) -> None:
    assert "as --data-dir" in fault_of(make(), None)
    (folder / "img_align_celeba" / "000002.jpg").unlink()
    assert "000002.jpg does not exist, but list_attr_celeba.txt names it" in fault_of(make(), folder)
    for name in ("img_align_celeba", "list_eval_partition.txt", "list_attr_celeba.txt"):
        (folder / name).rename(folder / f"{name}.old")
        assert f"{folder / name} cannot be read: No such file or directory" in fault_of(make(), folder)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_broken_image_is_named_when_it_is_read(folder: Path, content: bytes | None) -> None:
    path = folder / "img_align_celeba" / "000002.jpg"
    path.write_bytes(path.read_bytes()[:400] if content is None else content)
    train = make().load(folder).train
    train.take(np.array([0, 2]))
    with pytest.raises(UsageError, match=r"000002.jpg cannot be read: .*; unpack it again"):
        train.take(np.array([0, 1]))
