"""One cell in several processes: connections, sums and comparisons of tensors, and failures."""

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
"""Time limit of one exchange. All processes do the same work, so only one that hangs exceeds it."""
GRACE = 5.0
"""Seconds allowed for the system to report that a process ended."""
PR_SET_PDEATHSIG = 1
"""Option of prctl(2) that sets the signal sent to a process when its parent ends."""


class Lost(RuntimeError):
    """Lost contact with another process of the cell: it ended or did not answer in time."""


class ProcessDied(CellError):
    """Death of another process of the cell, which reported no error."""


@dataclass(frozen=True)
class Processes:
    """Processes that split a cell's batches by rows, and the rank of this one.

    Each holds the whole model, and the same parameters, method and random numbers. A step's batches are split into
    equal parts; each process computes the gradients of its own parts, and the gradients are summed before any other
    use. Sums come before products: with gᵢ = Σᵣ gᵢʳ over the processes r,

        ⟨gᵢ, gⱼ⟩ = ⟨Σᵣ gᵢʳ, Σₛ gⱼˢ⟩ = Σᵣ Σₛ ⟨gᵢʳ, gⱼˢ⟩,

    and the Gram matrices of single processes hold only the terms r = s. So neither their sum nor their mean is the
    Gram matrix of the batch: in expectation it adds the variance of each process's gradients. Losses, which are
    means over rows, are averaged.

    A value that is not finite in one process is not finite in the sum, so all processes find it in the same place and
    raise the same error. A process that fails alone leaves its exchange with the others, which then raise
    :class:`Lost`.

    :param rank: this process's number, from 0. Process 0 writes records and checkpoints.
    :param count: number of processes.
    """

    rank: int = 0
    count: int = 1

    def own(self, parts: int) -> range:
        """Return the numbers of this process's parts, out of ``parts`` parts of a batch."""
        return range(self.rank, parts, self.count)

    def add(self, tensor: torch.Tensor) -> None:
        """Sum a contiguous tensor over the processes, in place; all get the same bits.

        :param tensor: of the same shape in every process.
        :raises Lost: when another process has ended or does not answer; the other exchanges raise it too.
        """
        if self.count > 1:
            with _exchange():
                dist.all_reduce(tensor)

    def add_all(self, tensors: Sequence[torch.Tensor]) -> None:
        """Sum tensors over the processes, in place and in one exchange."""
        if self.count > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            self.add(flat)
            pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
            torch._foreach_copy_(
                list(tensors), [piece.view_as(tensor) for tensor, piece in zip(tensors, pieces, strict=True)]
            )

    def total(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of an array over the processes."""
        tensor = torch.from_numpy(np.array(numbers))
        self.add(tensor)
        result: NDArray[np.float64] = tensor.numpy()
        return result

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process, by rank."""
        values = [value] * self.count
        if self.count > 1:
            with _exchange():
                dist.all_gather_object(values, value)
        return values

    def agree(self, tensors: Sequence[torch.Tensor], what: str) -> None:
        """Check that all processes hold the same bits. This reads each tensor once.

        :param tensors: tensors of 32-bit numbers.
        :param what: their name in the error.
        :raises CellError: when the processes' bits differ.
        """
        if self.count > 1:
            sums = [tensor.detach().view(torch.int32).sum(dtype=torch.int64).cpu() for tensor in tensors]
            gathered = self.gather(torch.stack(sums).tolist())
            if any(other != gathered[0] for other in gathered):
                raise CellError(f"the {self.count} processes of the cell disagree on {what}; this is a bug")


ALONE = Processes()
"""A cell in a single process."""


@contextmanager
def _exchange() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch raises it for a closed connection and for a timeout
        raise Lost(str(error)) from None


@contextmanager
def joined(store: Store, rank: int, count: int, device: str) -> Iterator[Processes]:
    """Join a cell's processes for the duration of the block, and yield them.

    A process that fails puts its error into the store and leaves. This ends the exchanges of the others, which raise
    the same error.

    :param store: a store that all the processes reach; a new one for every cell.
    :param rank: this process's number.
    :param count: number of processes.
    :param device: the device of the model.
    :raises CellError: when another process failed: its error.
    :raises Lost: when another process ended without reporting an error.
    """
    backend = "gloo"
    if device != "cpu":
        backend = "cpu:gloo,cuda:nccl"  # tensors on the CPU, such as losses, are exchanged by gloo
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
    with _exchange():
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    try:
        yield Processes(rank, count)
    except Lost:
        raise _error_of_another(store, rank, count) or Lost("another process of the cell has ended") from None
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
    """Start the other processes of a cell, join them as process 0, and yield them; they end with the block.

    They are forks of this process, so it must not have started threads or used a GPU.

    :param count: number of processes, this one included.
    :param device: the device of the model.
    :param work: runs in each of the other processes.
    :raises CellError: when another process failed: its error.
    :raises ProcessDied: when another process ended without reporting an error, for example for lack of memory.
    """
    if count == 1:
        yield ALONE
        return
    with tempfile.TemporaryDirectory(prefix="mtlbench-") as folder:

        def run(rank: int) -> None:
            with joined(FileStore(f"{folder}/store", count), rank, count, device) as processes:
                work(processes)

        children = [_fork(partial(run, rank)) for rank in range(1, count)]
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
        """Return the exit code, −n for signal n; ``None`` while the process runs."""
        if self.code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if ended else None
        return self.code

    def end(self) -> None:
        """Kill the process if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _fork(work: Callable[[], None]) -> _Child:
    pid = os.fork()
    if pid:
        return _Child(pid)
    code = 1
    try:
        if sys.platform == "linux":  # elsewhere its next exchange fails
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM):  # process 0 handles these; the others end with it
            signal.signal(number, signal.SIG_IGN)
        work()
        code = 0
    except Lost:
        code = 0  # another process failed, not this one
    finally:
        os._exit(code)


def _cause(children: Sequence[_Child]) -> str | None:
    """Describe the first process that failed; return ``None`` if none does within :data:`GRACE`."""
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
