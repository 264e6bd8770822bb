"""The fault campaign: a small real grid is killed, torn, flooded and confused until it is done, again and again.

    python -m benchmarks.faults WORK --minutes 15

A round is one grid, from an empty results folder to the end. Meanwhile processes get SIGKILL, at random moments and as
soon as a file is being written; records, side files and checkpoints are torn, or one of their bits is flipped; files
cannot grow beyond a few kilobytes, as on a full disk; times are set years back or ahead; and several launchers run at
once. In the end the grid is finished undisturbed, what ``mtlbench merge`` finds damaged is removed and run again, and
the report is compared with that of a grid that nobody disturbed. Everything goes through the command line and signals;
the records are checked here by other code than the product's.

WORK keeps what was counted: the same command goes on with the next round. ``--page FILE`` writes the table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.tiny_grid import make_tiny_grid

METHODS, SEEDS = "stl,sum,pcgrad", 5
KILLS_A_LAUNCH, KILLS_A_ROUND = 25, 50
FILE_LIMIT = 2500
"""Bytes that a file may have while the disk is "full": a lease fits, a record does not."""
YEARS = 3 * 365 * 86400.0
TIMED = {"seconds_per_step", "peak_memory_bytes", "seconds", "path", "slowdown", "relative_seconds"}

MTLBENCH = [sys.executable, "-m", "mtlbench"]


class Grid:
    """The commands of one grid on one results folder."""

    def __init__(self, work: Path, results: Path) -> None:
        self.results, self.cells = results, len(METHODS.split(",")) * SEEDS
        tiny = make_tiny_grid(work / "tiny")
        self.command = [*MTLBENCH, "run", "--suite", str(tiny / "tiny.toml"), "--data-dir", str(tiny)]
        self.command += ["--methods", METHODS, "--seeds", str(SEEDS), "--results", str(results), "--jobs", "2"]
        if "--checkpoint-every" in _output("run", "--help"):
            self.command += ["--checkpoint-every", "0.2"]

    def start(self, log: Path, limit: int | None = None) -> subprocess.Popen[bytes]:
        """Start a launcher in a session of its own; its messages are appended to a log."""

        def prepare() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        # through cat: the limit on files must not end the messages
        process = subprocess.Popen(self.command, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=prepare)
        with log.open("ab") as file:
            subprocess.Popen(["cat"], stdin=process.stderr, stdout=file)
        assert process.stderr is not None
        process.stderr.close()
        return process

    def done(self) -> dict[str, tuple[str, str]]:
        """Return key → (what the result is, when it was started) of every finished cell whose record is whole."""
        found = {}
        for path in self.results.glob("[!.]*/*/*.json"):
            try:
                record = json.loads(path.read_bytes())
                claimed = record.pop("checksum")
            except (OSError, ValueError, AttributeError, KeyError):
                continue
            text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
            if hashlib.sha256(text.encode()).hexdigest() == claimed and record["status"] == "done":
                whole = all(_size(path.parent / f["name"]) == f["bytes"] for f in record["files"].values())
                result = json.dumps([record["scores"], record["files"]["predictions"]["sha256"]], sort_keys=True)
                if whole:
                    found[record["key"]] = result, record["started"]
        return found

    def table(self) -> Any:
        """Return the report without times and memory."""
        return _untimed(json.loads(_output("report", "--results", str(self.results), "--format", "json")))


def _output(*arguments: str) -> str:
    return subprocess.run([*MTLBENCH, *arguments], capture_output=True, text=True, check=False).stdout


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(one) for name, one in value.items() if name not in TIMED}
    return [_untimed(one) for one in value] if isinstance(value, list) else value


def below(pid: int) -> dict[int, str]:
    """Return all processes below a launcher, with what they are."""
    found = {}
    for child in _children(pid):
        try:
            command = Path(f"/proc/{child}/cmdline").read_text()
        except OSError:
            continue
        found[child] = "resource tracker" if "resource_tracker" in command else "fork server"
        found |= dict.fromkeys(_children(child), "worker")
    return found


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Round:
    """One grid under faults.

    :param expected: key → result of every cell, from the undisturbed grid.
    """

    def __init__(self, grid: Grid, expected: dict[str, str], table: Any, dice: random.Random, log: Path) -> None:
        self.grid, self.expected, self.table, self.dice, self.log = grid, expected, table, dice, log
        self.counts: Counter[str] = Counter()
        self.seen: dict[str, tuple[str, str]] = {}

    def run(self) -> Counter[str]:
        """Disturb the grid, finish it, compare it, and return what was counted."""
        self.grid.results.mkdir()
        while self.kills < KILLS_A_ROUND and len(self.grid.done()) < self.grid.cells:
            self._launch()
            self._look()
            for fault in (self._tear, self._flip, self._shift_clock):
                if self.dice.random() < 0.4:
                    fault()
        self._finish()
        self.counts["rounds"] += 1
        return self.counts

    @property
    def kills(self) -> int:
        return sum(count for name, count in self.counts.items() if name.startswith("kill: "))

    def _launch(self) -> None:
        """Run one launcher, or several at once, and kill what runs until they have ended."""
        several = self.dice.choice([1, 1, 1, 2, 2, 3])
        limit = FILE_LIMIT if self.dice.random() < 0.15 else None
        self.counts["launches"] += several
        self.counts["launches on a full disk"] += several if limit else 0
        self.counts["launches beside others"] += several if several > 1 else 0
        running = [self.grid.start(self.log, limit) for _ in range(several)]
        for _ in range(self.dice.randrange(1, KILLS_A_LAUNCH + 1)):
            aimed = self.dice.random() < 0.6
            self._wait(running, aimed)
            running = [one for one in running if one.poll() is None]
            if not running:
                break
            self._kill(self.dice.choice(running), aimed)
            self._look()
        deadline = time.monotonic() + self.dice.choice([0.0, 5.0, 30.0])
        for one in running:
            try:
                one.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._kill(one, aimed=False, group=True)
            one.wait()

    def _wait(self, running: list[subprocess.Popen[bytes]], aimed: bool) -> None:
        """Wait for a random moment, or for one at which a file is being written."""
        begun = time.monotonic()
        moment = self.dice.uniform(0.0, 1.5)
        while any(one.poll() is None for one in running):
            spent = time.monotonic() - begun
            if (aimed and self._half_written()) or spent > 40.0:
                return
            # most of a launch is importing libraries: let nine in ten of the moments come after that
            if not aimed and spent > moment and (self._workers(running) or moment < 0.15):
                return
            time.sleep(0.001 if aimed else 0.02)

    def _workers(self, running: list[subprocess.Popen[bytes]]) -> list[int]:
        return [pid for one in running for pid, what in below(one.pid).items() if what == "worker"]

    def _half_written(self) -> list[Path]:
        roots = [*self.grid.results.glob("[!.]*/*"), *self.grid.results.glob(".checkpoints/*")]
        return [path for root in roots for path in root.glob(".writing-*")]

    def _kill(self, launcher: subprocess.Popen[bytes], aimed: bool, group: bool = False) -> None:
        """Kill a process of a launcher, or all, and count by what it was just doing."""
        found = {launcher.pid: "launcher", **below(launcher.pid)}
        writers = [_writer(path) for path in self._half_written() if _writer(path) in found]
        workers = [pid for pid, what in found.items() if what == "worker"]
        if group or self.dice.random() < 0.03:
            what, victims = "launcher and all below it", list(found)
        elif aimed and writers:
            what, victims = found[writers[0]], writers[:1]
        elif workers and self.dice.random() < 0.9:
            what, victims = "worker", [self.dice.choice(workers)]
        else:
            victims = [self.dice.choice(list(found))]
            what = found[victims[0]]
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                return
        time.sleep(0.02)
        left = [path for path in self._half_written() if _writer(path) in victims]
        doing = f"writing {_kind(left[0])}" if left else "between writes" if workers else "while starting"
        self.counts[f"kill: {what}, {doing}"] += 1

    def _look(self) -> None:
        """Compare the finished cells with those seen before, and with what they should be."""
        found = self.grid.done()
        self.counts["finished cells lost"] += len(self.seen.keys() - found.keys())
        self.counts["wrong records"] += sum(self.expected[key] != result for key, (result, _) in found.items())
        self.counts["finished cells trained again"] += sum(
            self.seen[key][1] != started for key, (_, started) in found.items() if key in self.seen
        )
        self.seen = found

    def _some_file(self) -> Path | None:
        files = [p for p in self.grid.results.rglob("*") if p.is_file() and ".leases" not in p.parts]
        return self.dice.choice(sorted(files)) if files else None

    def _tear(self) -> None:
        if (path := self._some_file()) is not None and (size := path.stat().st_size):
            os.truncate(path, self.dice.randrange(size))
            self._spoilt(path, "torn")

    def _flip(self) -> None:
        if (path := self._some_file()) is not None and (content := bytearray(path.read_bytes())):
            content[self.dice.randrange(len(content))] ^= 1 << self.dice.randrange(8)
            path.write_bytes(content)
            self._spoilt(path, "bit flipped")

    def _spoilt(self, path: Path, how: str) -> None:
        """Count a fault; cells that it takes are not lost by the product."""
        self.counts[f"file: {_kind(path)}, {how}"] += 1
        found = self.grid.done()
        self.seen = {key: value for key, value in self.seen.items() if key in found}

    def _shift_clock(self) -> None:
        """Set the times of all files years back or ahead."""
        self.counts["clock jumps"] += 1
        when = time.time() + self.dice.choice([-YEARS, YEARS])
        for path in self.grid.results.rglob("*"):
            os.utime(path, (when, when))

    def _finish(self) -> None:
        """Run the grid to its end, remove what merge finds damaged, run that again, and compare."""
        for _ in range(4):
            if self.grid.start(self.log).wait() == 0 and not self._remove_damaged():
                break
        self._look()
        self.counts["final tables identical"] += self.grid.table() == self.table
        errors = [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("Traceback")]
        self.counts["tracebacks of launchers"] += len(errors)

    def _remove_damaged(self) -> int:
        into = self.grid.results.with_name("merged")
        done = subprocess.run(
            [*MTLBENCH, "merge", str(self.grid.results), "--into", str(into)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        shutil.rmtree(into, ignore_errors=True)
        damaged = [line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("left out, damaged: ")]
        for path in map(Path, damaged):
            self.counts["damaged records found and run again"] += 1
            path.unlink()
        found = self.grid.done()
        self.seen = {key: value for key, value in self.seen.items() if key in found}
        return len(damaged)


def _writer(path: Path) -> int:
    """Return the process that writes a temporary file, by its name."""
    number = path.name.removeprefix(".writing-").partition("-")[0]
    return int(number) if number.isdigit() else 0


def _kind(path: Path) -> str:
    """Return what a file is, half written or whole."""
    if ".checkpoints" in path.parts:
        return "a checkpoint"
    endings = {".json": "a record", ".jsonl": "a side file", ".parquet": "a side file", ".txt": "a side file"}
    return endings.get(path.suffix, "another file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("work", type=Path, help="folder for the grids and for what was counted")
    parser.add_argument("--minutes", type=float, default=15.0, help="start no more rounds after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="Markdown file to write the table to")
    given = parser.parse_args()
    work, end = given.work.resolve(), time.monotonic() + 60.0 * given.minutes
    work.mkdir(parents=True, exist_ok=True)
    reference = Grid(work, work / "undisturbed")
    if reference.start(work / "undisturbed.log").wait() != 0:
        sys.exit(f"the undisturbed grid failed: see {work / 'undisturbed.log'}")
    expected, table = {key: result for key, (result, _) in reference.done().items()}, reference.table()
    state = work / "counts.json"
    counts: Counter[str] = Counter(json.loads(state.read_text()) if state.exists() else {})
    while time.monotonic() < end:
        number = counts["rounds"]
        results = work / "disturbed"
        shutil.rmtree(results, ignore_errors=True)
        dice = random.Random(f"{given.seed}/{number}")
        counts += Round(Grid(work, results), expected, table, dice, work / f"round-{number}.log").run()
        state.write_text(json.dumps(counts, indent=1, sort_keys=True))
        print(f"round {number}: {sum(n for name, n in counts.items() if name.startswith('kill: '))} kills so far")
    text = page(counts)
    print(text)
    if given.page is not None:
        given.page.write_text(text)


def page(counts: Counter[str]) -> str:
    """Return the Markdown page."""
    kills = {name.removeprefix("kill: "): count for name, count in counts.items() if name.startswith("kill: ")}
    files = {name.removeprefix("file: "): count for name, count in counts.items() if name.startswith("file: ")}
    outcomes = [
        ("rounds: a grid from nothing to the end", counts["rounds"]),
        ("final tables identical to the undisturbed one", counts["final tables identical"]),
        ("finished cells lost", counts["finished cells lost"]),
        ("records with a wrong result", counts["wrong records"]),
        ("finished cells trained again", counts["finished cells trained again"]),
        ("damaged records that merge found, run again", counts["damaged records found and run again"]),
        ("tracebacks in launchers' messages", counts["tracebacks of launchers"]),
    ]
    faults = [
        ("SIGKILL", sum(kills.values())),
        ("launches", counts["launches"]),
        ("of these beside another launcher", counts["launches beside others"]),
        ("of these with files that cannot grow", counts["launches on a full disk"]),
        ("times of all files set years away", counts["clock jumps"]),
        *sorted(files.items()),
    ]
    parts = [
        "# Fault campaign\n",
        "Made by `python -m benchmarks.faults`, whose first lines say what it does. "
        f"{METHODS} × {SEEDS} seeds a round.\n",
        _rows("what became of it", outcomes),
        _rows("faults", faults),
        _rows("killed process, and what it was doing", sorted(kills.items())),
        "A process was writing if it left a file half written behind; moments just before and after count as between.",
        "",
    ]
    return "\n".join(parts)


def _rows(title: str, rows: list[tuple[str, int]]) -> str:
    return "\n".join([f"| {title} | count |", "| --- | ---: |", *(f"| {what} | {count} |" for what, count in rows), ""])


if __name__ == "__main__":
    main()
