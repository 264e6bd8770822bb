"""CelebA as a problem: 40 yes-or-no attributes of a face, from one forward pass; images are read on demand.

This is how a problem file of your own looks. CelebA is not free to pass on: get it from its publisher, and put these
into one folder, as they are published::

    img_align_celeba/000001.jpg ...   the aligned images, 178 x 218 pixels
    list_attr_celeba.txt              their number, the 40 names, and a line of 1 and -1 for each image
    list_eval_partition.txt           a line for each image: 0 training, 1 development, 2 test

Then::

    mtlbench run --plugin examples/celeba.py --problem celeba --data-dir FOLDER --methods sum,pcgrad --seeds 3

It is tested on a few images made in this layout, never on CelebA itself: there are no reference results, and the
default size, width and crop are plausible choices that nobody tuned. The images count in the data's fingerprint by name
and size in bytes, since reading all of them would take minutes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from mtlbench import Data, Examples, Problem, Target, UsageError

ATTRIBUTES = """
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
    Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee
    Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard
    Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair
    Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young
""".split()  # noqa: SIM905  # a list would take forty lines
SPLITS = {"0": "train", "1": "dev", "2": "test"}
IMAGES, LABELS, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"


class Images:
    """Images that are read when a batch needs them.

    :param folder: their folder.
    :param names: N names of files.
    :param size: height and width of the tensors.
    :param fingerprint: a text that changes with the images.
    """

    def __init__(self, folder: Path, names: Sequence[str], size: int, fingerprint: str) -> None:
        self.folder, self.names, self.size, self.fingerprint = folder, names, size, fingerprint

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return (B, 3, size, size) images with values from -1 to 1."""
        pixels = np.stack([self._read(self.folder / self.names[row]) for row in rows])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)

    def _read(self, path: Path) -> NDArray[np.uint8]:
        """Return the square in the middle of an image, scaled to (size, size, 3)."""
        try:
            from PIL import Image  # a dependency of matplotlib, and so of mtlbench
        except ImportError:
            raise UsageError("problem celeba reads images with Pillow: pip install pillow") from None
        try:
            with Image.open(path) as image:
                image = image.convert("RGB")
                side = min(image.size)
                left, top = (image.width - side) // 2, (image.height - side) // 2
                box = (left, top, left + side, top + side)
                return np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box))
        except Exception as error:  # a broken file makes Pillow raise many kinds of errors
            raise UsageError(f"image {path} cannot be read: {error}; unpack it again") from None


class Block(nn.Module):
    """Two convolutions beside a shortcut, which halve height and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(outputs // 8, outputs) for _ in range(2))  # needs no running averages
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norms[0](self.first(x)).relu()
        return (self.norms[1](self.second(hidden)) + self.shortcut(x)).relu()


class Net(nn.Module):
    """A trunk of residual blocks, and a linear head for each task."""

    def __init__(self, width: int, tasks: Sequence[str]) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width, 8 * width]
        blocks = [Block(*pair) for pair in pairwise(sizes)]
        self.trunk = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = nn.ModuleDict({task: nn.Linear(sizes[-1], 2) for task in tasks})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.trunk(x)
        return {task: head(features) for task, head in self.heads.items()}


@dataclass
class CelebA(Problem):
    """Forty yes-or-no attributes of a face: 40 tasks on one image, with one forward pass."""

    name = "celeba"
    source = "Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015"

    size: Annotated[int, Field(ge=16, le=178, description="height and width of the images, in pixels")] = 64
    width: Annotated[int, Field(ge=8, le=512, multiple_of=8, description="channels of the first block")] = 16

    def targets(self) -> Sequence[Target]:
        return [Target(name, "classification", outputs=2) for name in ATTRIBUTES]

    def load(self, data_dir: Path | None) -> Data:
        if data_dir is None:
            raise UsageError(f"problem celeba: give the folder with {IMAGES}/, {LABELS} and {PARTITION} as --data-dir")
        labels, splits = read_labels(data_dir / LABELS), read_partition(data_dir / PARTITION)
        for name in labels.keys() ^ splits.keys():
            missing = PARTITION if name in labels else LABELS
            raise UsageError(f"{data_dir / missing} does not have image {name}, which the other list has")
        sizes = _file_sizes(data_dir / IMAGES)
        parts = {}
        for split in SPLITS.values():
            names = [name for name in labels if splits[name] == split]
            if not names:
                raise UsageError(f"{data_dir / PARTITION} has no image of the {split} split")
            for name in names:
                if name not in sizes:
                    raise UsageError(f"image {data_dir / IMAGES / name} does not exist, but {LABELS} names it")
            listing = "".join(f"{name} {sizes[name]}\n" for name in names)
            fingerprint = hashlib.sha256(f"{self.size}\n{listing}".encode()).hexdigest()
            values = np.array([labels[name] for name in names], np.int64)
            columns = {task: values[:, place] for place, task in enumerate(ATTRIBUTES)}
            parts[split] = Examples(Images(data_dir / IMAGES, names, self.size, fingerprint), columns)
        return Data(**parts, source=f"CelebA, {sum(map(len, parts.values()))} images")

    def model(self, targets: Sequence[Target]) -> nn.Module:
        return Net(self.width, [target.name for target in targets])

    def shared(self, model: nn.Module) -> nn.Module:
        return model.trunk

    def last_shared_layer(self, model: nn.Module) -> nn.Module:
        return model.trunk[3]

    def representation(self, model: nn.Module) -> nn.Module:
        return model.trunk


def read_labels(path: Path) -> dict[str, list[bool]]:
    """Return image → whether it has each attribute, in the file's order.

    :raises UsageError: when the file is missing, or a line is wrong; the message names it.
    """
    lines = _lines(path)
    if len(lines) < 2 or lines[1].split() != ATTRIBUTES:
        raise UsageError(f"{path}, line 2: the names of CelebA's {len(ATTRIBUTES)} attributes should stand here")
    labels = {}
    for number, line in enumerate(lines[2:], start=3):
        name, *values = line.split() or [""]
        if len(values) != len(ATTRIBUTES):
            raise UsageError(f"{path}, line {number}: {len(values)} values, not {len(ATTRIBUTES)}, for image '{name}'")
        for attribute, value in zip(ATTRIBUTES, values, strict=True):
            if value not in ("1", "-1"):
                raise UsageError(f"{path}, line {number}, {attribute}: '{value}' should be 1 or -1")
        if name in labels:
            raise UsageError(f"{path}, line {number}: image {name} stands here a second time")
        labels[name] = [value == "1" for value in values]
    if lines[0].strip() != str(len(labels)):
        raise UsageError(f"{path}, line 1: it announces {lines[0].strip()} images, but {len(labels)} follow")
    return labels


def read_partition(path: Path) -> dict[str, str]:
    """Return image → its split.

    :raises UsageError: when the file is missing, or a line is wrong; the message names it.
    """
    splits = {}
    for number, line in enumerate(_lines(path), start=1):
        parts = line.split()
        if len(parts) != 2 or parts[1] not in SPLITS:
            raise UsageError(f"{path}, line {number}: '{line[:60]}' should be an image and 0, 1 or 2")
        if parts[0] in splits:
            raise UsageError(f"{path}, line {number}: image {parts[0]} stands here a second time")
        splits[parts[0]] = SPLITS[parts[1]]
    return splits


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _file_sizes(folder: Path) -> dict[str, int]:
    """Return file → its size in bytes."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries}
    except OSError as error:
        raise UsageError(f"folder {folder} cannot be read: {error.strerror}") from None
