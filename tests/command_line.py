"""The command line: called in this process, or as a process of its own where tests must signal it."""

from __future__ import annotations

import faulthandler
import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

import pytest

from mtlbench.cli import main

HANGS = 240.0
"""Seconds after which a command line that does not end takes its test process with it."""


def command_line(
    *arguments: object, out: TextIO | None = None, err: TextIO | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``mtlbench`` in this process, where torch is imported only once, and return its exit code and output.

    Cells run in processes of their own all the same. Signals to the command line are tested with real processes.

    :param arguments: words of the command line after ``mtlbench``; converted to text.
    :param out: standard output, for a stream with an encoding; its text is not returned then.
    :param err: standard error, likewise.
    """
    words = ["mtlbench", *map(str, arguments)]
    stdout, stderr = out or io.StringIO(), err or io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", words)
        faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            faulthandler.cancel_dump_traceback_later()
    code = ended.value.code
    assert isinstance(code, int)
    texts = [stream.getvalue() if isinstance(stream, io.StringIO) else "" for stream in (stdout, stderr)]
    return subprocess.CompletedProcess(words, code, *texts)


def tiny_run(suite_file: Path, data_dir: Path, *more: str) -> list[str]:
    """Return the command of a run on the tiny suite, for tests that must signal it."""
    options = ["--suite", str(suite_file), "--data-dir", str(data_dir), *more]
    return [sys.executable, "-m", "mtlbench", "run", *options]
