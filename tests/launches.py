"""``mtlbench`` as processes of their own, forked from one process that has imported what they need.

A started command line and its fork server import torch and transformers anew, seven seconds of a core. Everything
else is that of ``python -m mtlbench``: process id, session, signals, streams, environment, exit code.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from typing import NoReturn

from mtlbench.text.problem import MODULES

LARGEST = 1 << 20
"""Bytes of a request: the words of a command line and its environment."""


class Launch:
    """A running command line, with the part of :class:`subprocess.Popen` that tests need."""

    def __init__(self, connection: socket.socket, errors: int | None) -> None:
        self._connection, self._errors = connection, errors
        self.pid = int(connection.recv(64))
        self.returncode: int | None = None

    def wait(self, timeout: float = 240.0) -> int:
        """Return the exit code; for a signal, its negated number.

        :raises TimeoutError: when it does not end within ``timeout`` seconds.
        """
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = int(self._connection.recv(64))
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float = 240.0) -> str:
        """Return the rest of its standard error after it has ended."""
        assert self._errors is not None
        watch = threading.Timer(timeout, self.kill)
        watch.start()
        try:
            with os.fdopen(self._errors, encoding="utf-8") as stream:
                text = stream.read()
        finally:
            watch.cancel()
        self._errors = None
        self.wait(timeout)
        return text

    def kill(self) -> None:
        """Kill this process if it still runs, but not those that it started."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


class Launcher:
    """Starts command lines; imports what they need at the first one.

    :param folder: an empty folder, for a socket.
    """

    def __init__(self, folder: Path) -> None:
        self._address, self._server = str(folder / "s"), None

    def __call__(
        self,
        *words: object,
        env: Mapping[str, str] | None = None,
        stdout: int = -1,
        stderr: int = -1,
        largest_file: int | None = None,
    ) -> Launch:
        """Start ``mtlbench``, or a script, in a session of its own.

        :param words: the command line after ``mtlbench``, or a file ``*.py`` and its arguments; converted to text.
        :param env: its environment; this process's if it is None.
        :param stdout: file descriptor of standard output, which is thrown away if there is none.
        :param stderr: file descriptor of standard error, which :meth:`Launch.communicate` returns if there is none.
        :param largest_file: bytes that a file may have which it or a process of it writes; None for no limit.
        """
        if self._server is None:
            command = [sys.executable, __file__, self._address]
            self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._server.stdout is not None and self._server.stdout.readline() == b"ready\n"
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self._address)
        ours, theirs = os.pipe() if stderr == -1 else (None, stderr)
        null = os.open(os.devnull, os.O_WRONLY)
        environment = dict(os.environ if env is None else env)
        request = pickle.dumps((list(map(str, words)), environment, Path.cwd(), largest_file))
        socket.send_fds(connection, [request], [null if stdout == -1 else stdout, theirs])
        os.close(null)
        if ours is not None:
            os.close(theirs)
        return Launch(connection, ours)

    def close(self) -> None:
        """End the process that command lines are forked from."""
        if self._server is not None:
            self._server.communicate()  # it ends with its standard input


def serve(address: str) -> NoReturn:
    """Fork a command line for every request, until standard input ends."""
    for module in ("mtlbench.cli", "mtlbench.grid.command", "mtlbench.execute.worker", *MODULES):
        importlib.import_module(module)
    util.spawnv_passfds = fork_helper  # type: ignore[attr-defined]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    print("ready", flush=True)
    while True:
        readable = select.select([listener, 0], [], [])[0]
        if 0 in readable:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            attend(connection)
        connection.close()


def attend(connection: socket.socket) -> NoReturn:
    """Fork a command line, and report its process id and exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams, _, _ = socket.recv_fds(connection, LARGEST, 2)
    words, environment, folder, largest_file = pickle.loads(request)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        connection.send(str(os.getpid()).encode())
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
            os.dup2(descriptor, number)
        close_all_but(())
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")  # a stream knows whether its first file could seek
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
        os.chdir(folder)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        os.environ.clear()
        os.environ.update(environment)
        if words[0].endswith(".py"):
            sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
            end(lambda: runpy.run_path(words[0], run_name="__main__"))
        sys.argv = ["mtlbench", *words]
        end(lambda: runpy.run_module("mtlbench", run_name="__main__", alter_sys=True))
    for descriptor in streams:
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def fork_helper(path: bytes, words: Sequence[str], kept: Sequence[int]) -> int:
    """Fork multiprocessing's fork server or resource tracker, in the place of ``util.spawnv_passfds``.

    :param path: of the interpreter, which has no new start here.
    :param words: its command line, which ends with ``-c`` and code.
    :param kept: file descriptors that the process has, beside the standard streams.
    """
    pid = os.fork()
    if pid:
        return pid
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    close_all_but(kept)
    atexit._clear()
    for helper in (resource_tracker._resource_tracker, forkserver._forkserver):  # type: ignore[attr-defined]
        helper.__init__()  # as in a new interpreter: of no process yet, and with a lock that nobody holds
    code = words[list(words).index("-c") + 1]
    return end(lambda: exec(code, {}))


def close_all_but(kept: Sequence[int]) -> None:
    """Close all file descriptors but the standard streams and those to keep."""
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 4096)


def end(work: Callable[[], object]) -> NoReturn:
    """Do some work as an interpreter does a script, and end this process."""
    code = 0
    try:
        work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:  # as the resource tracker's are
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
