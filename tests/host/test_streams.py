"""Output in any encoding, on any terminal, and to streams that cannot be written."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launches import Launcher

from mtlbench.cli import main
from mtlbench.host.streams import ESCAPE, SUBSTITUTE, SUBSTITUTES

REFERENCE = Path(__file__).parent.parent.parent / "results" / "reference"
VERBS = (
    ("list", "methods"),
    ("list", "methods", "--markdown"),
    ("info", "cagrad"),
    ("status", "--results", str(REFERENCE)),
    ("--help",),
    ("run", "--methods", "Δ", "--dry-run"),
)


def call(encoding: str, *arguments: str) -> tuple[int, bytes]:
    """Return the exit code and standard output of a command line whose streams have an encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["mtlbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out.flush()
        err.flush()
    assert b"Traceback" not in err.buffer.getvalue()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.buffer.getvalue()


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "shift_jis"])
def test_every_verb_prints_in_any_encoding(encoding: str, verb: tuple[str, ...]) -> None:
    code, output = call(encoding, *verb)
    assert code == (2 if "Δ" in verb else 0)
    output.decode(encoding)


def test_the_report_stays_legible() -> None:
    code, output = call("ascii", "report", "--results", str(REFERENCE), "--format", "markdown")
    assert code == 0 and "| method | sst5 accuracy ^ |" in output.decode("ascii")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "ascii"])
def test_json_means_the_same_in_any_encoding(encoding: str) -> None:
    def listed(encoding: str) -> object:
        return json.loads(call(encoding, "list", "methods", "--json")[1].decode(encoding))

    assert listed(encoding) == listed("utf-8")


def test_signs_of_formulas_are_spelled() -> None:
    text = "Δm ≥ 0.4 ± 0.1; Σ wᵢ gᵢ, 10⁻⁸, ‖g‖², λ → μ; Ω"
    assert text.encode("ascii", SUBSTITUTE) == b"Dm >= 0.4 +- 0.1; sum  wi gi, 10^-8, ||g||^2, lambda -> mu; Omega"
    assert "größe 你".encode("ascii", SUBSTITUTE) == rb"gr\xf6\xdfe \u4f60"
    assert all(substitute.isascii() for substitute in SUBSTITUTES.values())


@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    for encoding in ("ascii", "cp1252", "utf-8"):
        text.encode(encoding, SUBSTITUTE).decode(encoding)
    assert json.loads(f'"{json.dumps(text, ensure_ascii=False)[1:-1].encode("ascii", ESCAPE).decode()}"') == text


def on_terminal(launch: Launcher, term: dict[str, str], *arguments: str) -> bytes:
    """Return what a command line prints on a terminal."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")} | term
    command = launch(*arguments, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    try:
        while piece := os.read(ours, 65536):
            output += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert command.wait() == 0
    return output


@pytest.mark.parametrize(
    ("term", "escapes"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_escapes_are_printed_only_where_they_are_obeyed_and_wanted(
    launch: Launcher, term: dict[str, str], escapes: bool
) -> None:
    output = on_terminal(launch, term, "report", "--results", str(REFERENCE.parent / "reference-tuning"))
    assert b"Scores" in output
    assert (b"\x1b" in output) == escapes


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", [("list", "methods"), ("info", "sum"), ("--help",)], ids=" ".join)
def test_a_full_disk_is_one_line(launch: Launcher, verb: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        process = launch(*verb, stdout=full.fileno())
        assert process.communicate() == "mtlbench: output: No space left on device\n" and process.returncode == 2


def test_closed_output_is_nowhere_to_print() -> None:
    code = "import os; os.close(1); os.execv(%r, [%r, '-c', 'from mtlbench.cli import main; main()', 'list', 'tasks'])"
    done = subprocess.run([sys.executable, "-c", code % (sys.executable, sys.executable)], capture_output=True)
    assert done.returncode == 0 and done.stderr == b""
