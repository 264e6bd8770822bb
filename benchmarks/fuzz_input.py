"""Broken input of every kind, guided by coverage: no traceback may reach a user, no file elsewhere may be written.

    pip install -c constraints.txt -e '.[fuzz]'
    python -m benchmarks.fuzz_input [--seconds 60] [--write] [TARGET ...]

Each target of :mod:`benchmarks.fuzz_targets` runs in a process and an empty folder of its own, from one whole input.
mtlbench is instrumented by Atheris, and imported once: the processes are forks. An exception that is no refusal in one
line is a fault, and so is a crash, a minute without an end, and any file that is written outside the places of the
target. Faults are told with the input, in base 64, and exit with 1. ``tests/test_fuzz.py`` breaks the same files by
their structure.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib
import io
import json
import os
import pkgutil
import platform
import re
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.broken_json import mutated

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "benchmarks" / "fuzz_input.md"
SEED = 20240
HANGS = 60
"""Seconds that one input may take."""
OWN = ("corpus", "words", "faults", "read", "log")
"""What the fuzzer itself keeps in a target's folder."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.rmtree"}
"""Other ways to change a folder. Their details end with the descriptor of an open folder, or with -1 or ``None``."""
HOSTILE = (b"nan", b"1e999", b"-1", b"null", b"true", b"[]", b"{}", b'""', b"../x", b"/", b"\\u0000", b"\\ud800", b"\n")


@dataclass(frozen=True)
class Tally:
    """What came of one target."""

    target: str
    executions: int
    read: int
    seconds: int
    edges_at_first: int
    edges: int
    faults: list[str]


class Watch:
    """Knows which files outside some places this process writes, moves or removes: Python tells of each."""

    def __init__(self, folder: Path, places: tuple[str, ...]) -> None:
        self._folder, self._places = str(folder.resolve()), {*places, *OWN}
        self.elsewhere: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(details[2], int) and details[2] & WRITES:
            self._look(event, details[:1])
        elif event in CHANGES and details[-1] in (-1, None):  # others are relative to an open folder
            self._look(event, details[:2] if event in ("os.rename", "os.link") else details[:1])

    def _look(self, event: str, paths: tuple[Any, ...]) -> None:
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike) and os.fspath(path) != os.devnull:
                full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  a link's own place counts, not what it names
                first = full.removeprefix(f"{self._folder}/").partition("/")[0]  # empty for a file elsewhere
                if first not in self._places and not full.startswith(os.environ["MTLBENCH_CACHE"]):
                    self.elsewhere.append(f"{event} {full}")


def words(whole: bytes) -> str:
    """Return a dictionary for the fuzzer: the words of a whole input, and hostile ones."""
    found = dict.fromkeys([*re.findall(rb"[A-Za-z][\w.-]{1,20}", whole), *HOSTILE])
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in found)


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in the current folder; never returns. Faults and what was read are written to files at once."""
    import atheris

    from benchmarks.fuzz_results import BETWEEN
    from benchmarks.fuzz_targets import TARGETS

    target = TARGETS[name]
    whole = target.whole()
    if not target.feed(whole):
        raise SystemExit(f"the whole input of {name} is not read")
    Path("corpus").mkdir()
    Path("corpus/whole").write_bytes(whole)
    Path("words").write_text(words(whole))
    Path("faults").touch()
    read = os.open("read", os.O_CREAT | os.O_WRONLY)  # a byte each: no moment is told to be the last
    seen: set[str] = set()
    watch = Watch(Path(), target.places)

    def feed(content: bytes) -> None:
        fault = None
        try:
            if target.feed(content):
                os.write(read, b".")
        except Exception as error:  # whatever it is, a user would see it
            fault = f"{type(error).__name__} {_place(error)}", f"{error}"
        if watch.elsewhere:
            fault = "written elsewhere", watch.elsewhere[0]
            watch.elsewhere.clear()
        if fault is not None and fault[0] not in seen:
            seen.add(fault[0])
            told = f"{fault[0]}: {fault[1][:300]!r}; input {base64.b64encode(content).decode()}"
            with Path("faults").open("a") as faults:
                faults.write(json.dumps(told) + "\n")

    def mutate(content: bytes, size: int, seed: int) -> bytes:
        files = content.split(BETWEEN)
        place = seed // 2 % len(files)
        made = mutated(files[place], seed) if seed % 2 else None
        if made is None:
            return bytes(atheris.Mutate(content, size))
        files[place] = made
        return BETWEEN.join(files)[:size]

    options = {"seed": SEED, "max_total_time": seconds, "timeout": HANGS, "rss_limit_mb": 4096, "dict": "words"}
    options |= {"max_len": max(4096, 2 * len(whole)), "artifact_prefix": "corpus/"}
    arguments = [name, *(f"-{option}={value}" for option, value in options.items()), "corpus"]
    atheris.Setup(arguments, feed, custom_mutator=mutate if target.json else None)
    atheris.Fuzz()


def _place(error: BaseException) -> str:
    """Return the line of this repository's that an error was raised in, or that called what raised it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(ROOT))]
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    return f"{Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].lineno}" if ours else "nowhere"


def run(name: str, seconds: int) -> Tally:
    """Fuzz one target in a process of its own, and count."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            log = os.open("log", os.O_CREAT | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                fuzz(name, seconds)
            except BaseException:  # the fuzzer did not begin: the log says why
                traceback.print_exc()
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log_text = (folder / "log").read_text(errors="replace")
        ended = re.search(r"^Done (\d+) runs in (\d+) second", log_text, re.MULTILINE)
        edges = [int(found) for found in re.findall(r"^#.* cov: (\d+)", log_text, re.MULTILINE)]
        if not edges:
            raise SystemExit(f"{name}: the fuzzer did not begin\n{log_text[-2000:]}")
        faults = [json.loads(line) for line in (folder / "faults").read_text().splitlines()]
        if ended is None:
            inputs = [path.read_bytes() for path in folder.glob("corpus/*-*")]
            shown = ", ".join(base64.b64encode(content).decode() for content in inputs)
            faults.append(f"ended with {code}: {log_text[-500:]}; input {shown}")
        executions, lasted = (int(ended[1]), int(ended[2])) if ended else (0, 0)
        read = (folder / "read").stat().st_size
        return Tally(name, executions, read, lasted, edges[0], max(edges), faults)


def _import_instrumented() -> None:
    import atheris

    with atheris.instrument_imports(include=["mtlbench"]), contextlib.redirect_stderr(io.StringIO()):
        import mtlbench

        for module in pkgutil.walk_packages(mtlbench.__path__, "mtlbench."):
            if module.name != "mtlbench.__main__":
                importlib.import_module(module.name)


def page(tallies: list[Tally], seconds: int, load: float) -> str:
    """Return the page in Markdown."""
    faults = sum(len(tally.faults) for tally in tallies)
    lines = [
        "# Broken input",
        "",
        f"Made by `python -m benchmarks.fuzz_input --seconds {seconds} --write`, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load {load:.1f} when it began, "
        f"libFuzzer seed {SEED}: {sum(tally.executions for tally in tallies):,} executions, {faults} faults. A fault "
        f"is a traceback, a refusal that is not one line, a crash, {HANGS} seconds without an end, or a file that is "
        "written elsewhere than in the target's own places.",
        "",
        "| input | executions | read | seconds | edges at first | edges | faults |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {tally.target} | {tally.executions:,} | {tally.read:,} | {tally.seconds} | {tally.edges_at_first:,} | "
            f"{tally.edges:,} | {len(tally.faults)} |"
            for tally in tallies
        ),
        "",
        "- Read: taken as whole; all others were refused in one line, but for the faults.",
        "- Edges: of mtlbench's own code, counted by Atheris: those of the whole input, and of all inputs together.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run from the command line; exits with 1 if there is any fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="targets; all if none is given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    arguments, load = parser.parse_args(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as cache:
        for name in [name for name in os.environ if name.startswith("MTLBENCH_")]:
            del os.environ[name]
        os.environ |= {"MTLBENCH_CACHE": cache, "HF_HOME": cache, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        _import_instrumented()
        from benchmarks.fuzz_targets import TARGETS

        tallies = []
        for name in arguments.targets or TARGETS:
            tallies.append(run(name, arguments.seconds))
            print(f"{name}: {tallies[-1].executions} executions, {len(tallies[-1].faults)} faults", file=sys.stderr)
            for fault in tallies[-1].faults:
                print(f"  {fault}", file=sys.stderr)
    text = page(tallies, arguments.seconds, load)
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 1 if any(tally.faults for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
