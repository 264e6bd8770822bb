"""One cell over several processes: how they meet, add up, agree, and fail together."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed import FileStore, Store  # type: ignore[attr-defined]

from mtlbench.errors import CellError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others in one exchange. All have the same work, so this is for one that hangs."""
GRACE = 5.0
"""Seconds in which the system tells of a process that is gone."""


PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends."""


class Lost(RuntimeError):
    """Another process of the cell is gone, or did not answer in time."""


class ProcessDied(CellError):
    """Another process of the cell ended without a word."""


@dataclass(frozen=True)
class Processes:
    """The processes that split a cell's batches by rows, and this one's place among them.

    Each has the whole model, and the same parameters, method and random numbers. A step's batches are taken in equal
    parts; each process computes the gradients of its own, and they are added up before anything else is made of them.
    Sums come before products: with gᵢ = Σᵣ gᵢʳ over the processes r,

        ⟨gᵢ, gⱼ⟩ = ⟨Σᵣ gᵢʳ, Σₛ gⱼˢ⟩ = Σᵣ Σₛ ⟨gᵢʳ, gⱼˢ⟩,

    of which the processes' own Gram matrices hold the terms r = s alone. So neither their sum nor their mean is the
    Gram matrix of the batch: in expectation it has the variance of each process's gradients on top. Losses, which are
    means over rows, are averaged.

    What is not finite in one process is not finite in the sum, so all find it in the same place and raise the same
    error. An error that only one meets ends its exchange with the others, which then raise :class:`Lost`.

    :param rank: this process's number, from 0. Process 0 writes records and checkpoints.
    """

    rank: int = 0
    count: int = 1

    def own(self, parts: int) -> range:
        """Return the numbers of the parts that are this process's."""
        return range(self.rank, parts, self.count)

    def add(self, tensor: torch.Tensor) -> None:
        """Add up a contiguous tensor over the processes, in place: the same bits in each."""
        if self.count > 1:
            with _exchange():
                dist.all_reduce(tensor)

    def add_all(self, tensors: Sequence[torch.Tensor]) -> None:
        """Add up some tensors over the processes, in place, in one exchange."""
        if self.count > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            self.add(flat)
            pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
            torch._foreach_copy_(
                list(tensors), [piece.view_as(tensor) for tensor, piece in zip(tensors, pieces, strict=True)]
            )

    def total(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of each process's numbers."""
        found = torch.from_numpy(np.array(numbers))
        self.add(found)
        result: NDArray[np.float64] = found.numpy()
        return result

    def gather(self, value: Any) -> list[Any]:
        """Return what each process gives, in order."""
        found = [value] * self.count
        if self.count > 1:
            with _exchange():
                dist.all_gather_object(found, value)
        return found

    def agree(self, tensors: Sequence[torch.Tensor], what: str) -> None:
        """Check that all processes hold the same bits; costs one pass over them.

        :raises CellError: when they do not.
        """
        if self.count > 1:
            sums = [tensor.detach().view(torch.int32).sum(dtype=torch.int64).cpu() for tensor in tensors]
            found = self.gather(torch.stack(sums).tolist())
            if any(other != found[0] for other in found):
                raise CellError(f"the {self.count} processes of the cell disagree on {what}; this is a bug")


ALONE = Processes()


@contextmanager
def _exchange() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch raises for a closed connection and for a timeout
        raise Lost(str(error)) from None


@contextmanager
def joined(store: Store, rank: int, count: int, device: str) -> Iterator[Processes]:
    """Be one of a cell's processes within the block.

    One that fails leaves word of its error, and leaves: the others' exchanges end, and they raise the same.

    :param store: where the processes meet: a new one for every cell.
    :raises CellError: the error of another process that failed.
    :raises Lost: when another process is gone without a word.
    """
    backend = "gloo"
    if device != "cpu":
        backend = "cpu:gloo,cuda:nccl"  # numbers of the CPU, such as losses, are exchanged there
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
    with _exchange():
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    try:
        yield Processes(rank, count)
    except Lost:
        raise _error_of_another(store, rank, count) or Lost("another process of the cell is gone") from None
    except Exception as error:
        place = [getattr(error, "step", None), getattr(error, "task", None)]
        message = str(error) if isinstance(error, CellError) else f"{type(error).__name__}: {error}"
        store.set(f"error of {rank}", json.dumps([message, *place]))
        raise
    finally:
        dist.destroy_process_group()


def _error_of_another(store: Store, rank: int, count: int) -> CellError | None:
    for other in range(count):
        if other != rank and store.check([f"error of {other}"]):
            message, step, task = json.loads(store.get(f"error of {other}"))
            return CellError(f"{message} (process {other} of {count})", step, task)
    return None


@contextmanager
def spread(count: int, device: str, work: Callable[[Processes], object]) -> Iterator[Processes]:
    """Start the other processes of a cell, and be process 0 of them within the block; they end with it.

    They are forks of this process, which therefore must not have started threads, nor used a GPU.

    :param work: what each of them does.
    :raises CellError: the error of another process that failed.
    :raises ProcessDied: when one ended without a word, such as for lack of memory.
    """
    if count == 1:
        yield ALONE
        return
    with tempfile.TemporaryDirectory(prefix="mtlbench-") as folder:

        def follow(rank: int) -> None:
            with joined(FileStore(f"{folder}/store", count), rank, count, device) as processes:
                work(processes)

        children = [_fork(partial(follow, rank)) for rank in range(1, count)]
        try:
            with joined(FileStore(f"{folder}/store", count), 0, count, device) as processes:
                yield processes
        except Lost as error:
            raise ProcessDied(_cause(children) or f"no answer from another of the {count} processes: {error}") from None
        finally:
            for child in children:
                child.end()


class _Child:
    """A forked process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code once it has ended; −n for signal n."""
        if self.code is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if found else None
        return self.code

    def end(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _fork(work: Callable[[], None]) -> _Child:
    pid = os.fork()
    if pid:
        return _Child(pid)
    code = 1
    try:
        if sys.platform == "linux":  # elsewhere its next exchange tells it
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for ignored in (signal.SIGINT, signal.SIGTERM):  # process 0 hears of these; the others end with it
            signal.signal(ignored, signal.SIG_IGN)
        work()
        code = 0
    except Lost:
        code = 0  # another's end is not this one's fault
    finally:
        os._exit(code)


def _cause(children: Sequence[_Child]) -> str | None:
    """Say which process ended, and how, if one did."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        for rank, child in enumerate(children, start=1):
            code = child.poll()
            if code:
                cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                hint = " (out of memory?)" if code == -signal.SIGKILL else ""
                return f"process {rank} of {len(children) + 1} ended with {cause}{hint}"
        time.sleep(0.05)
    return None
