"""Read the imports of the code, and draw its rooms: ``python docs/architecture.py`` renews the figure and the table.

Every import counts, wherever it stands: at the top of a file, in a function, or for type checks alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "architecture.svg"
PLUGINS = ("methods", "problems", "tasks")
FOLDERS = {"mtlbench": ROOT / "mtlbench"} | {f"mtlbench.{name}": ROOT / name for name in PLUGINS}

ORDER = (
    ("cli", "api"),
    ("study",),
    ("tune", "toy", "bench", "map", "upkeep"),
    ("grid",),
    ("diagnose",),
    ("report",),
    ("watch",),
    ("execute",),
    ("check",),
    ("training",),
    ("records",),
    ("plan",),
    ("tasks", "problems"),
    ("text",),
    ("problem",),
    ("recipe",),
    ("surgery",),
    ("engine",),
    ("batched",),
    ("plugins",),
    ("methods",),
    ("solvers", "stats"),
    ("contract",),
    ("host",),
    ("errors", "seeds", "suites"),
)
"""From the top down: a room imports only from rooms that stand below it here."""
FACE = {"mtlbench", "mtlbench.__main__"}
"""The public face: it names what others import from ``mtlbench``, and belongs to no room."""


@dataclass(frozen=True)
class House:
    """Modules and their imports.

    :param files: module name → its file.
    """

    files: Mapping[str, Path]

    @classmethod
    def read(cls) -> House:
        """Find all modules of the package, methods and tasks included."""
        files: dict[str, Path] = {}
        for package, folder in FOLDERS.items():
            for file in sorted(folder.rglob("*.py")):
                parts = file.relative_to(folder).with_suffix("").parts
                files[".".join([package, *parts]).removesuffix(".__init__")] = file
        return cls(files)

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Module → the modules of the package that it imports."""
        return {module: set(self._imported(file)) - {module} for module, file in self.files.items()}

    def _imported(self, file: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                if name.split(".")[0] == "mtlbench":
                    yield self._module(name)

    def _module(self, name: str) -> str:
        while name not in self.files:
            name = name.rpartition(".")[0]
        return name

    @cached_property
    def rooms(self) -> dict[str, list[str]]:
        """Room → its modules."""
        rooms: dict[str, list[str]] = {}
        for module in self.files:
            if module not in FACE:
                rooms.setdefault(room_of(module), []).append(module)
        return rooms

    @cached_property
    def arrows(self) -> dict[str, set[str]]:
        """Room → the rooms that it imports from."""
        arrows: dict[str, set[str]] = {room: set() for room in self.rooms}
        for module, imported in self.imports.items():
            if module not in FACE:
                arrows[room_of(module)] |= {room_of(name) for name in imported if name not in FACE}
        return {room: below - {room} for room, below in arrows.items()}

    def upward(self) -> list[str]:
        """Return the imports that do not lead down, as ``module -> module``."""
        place = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
        return [
            f"{module} -> {name}"
            for module, imported in self.imports.items()
            for name in sorted(imported)
            if module not in FACE
            and name not in FACE
            and room_of(name) != room_of(module)
            and place[room_of(name)] <= place[room_of(module)]
        ]

    def circles(self) -> list[list[str]]:
        """Return the groups of modules that import one another in a circle."""
        reach = {module: self._reached(module) for module in self.files}
        circles = {frozenset(b for b in reach[a] if a in reach[b]) for a in self.files if a in reach[a]}
        return sorted(sorted(circle) for circle in circles)

    def _reached(self, module: str) -> set[str]:
        reached: set[str] = set()
        waiting = list(self.imports[module])
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += self.imports[name]
        return reached

    def floors(self) -> dict[str, int]:
        """Return room → how many rooms stand below it at most, one below another.

        :raises ValueError: when an import leads up: rooms in a circle have no floors.
        """
        if self.upward():
            raise ValueError(f"imports lead up: {', '.join(self.upward())}")
        floors: dict[str, int] = {}

        def floor(room: str) -> int:
            if room not in floors:
                floors[room] = 1 + max((floor(below) for below in self.arrows[room]), default=-1)
            return floors[room]

        for room in self.rooms:
            floor(room)
        return floors

    def direct(self) -> list[tuple[str, str]]:
        """Return the arrows between rooms that no other way through the house implies."""
        below: dict[str, set[str]] = {}

        def all_below(room: str) -> set[str]:
            if room not in below:
                below[room] = set().union(*({name} | all_below(name) for name in self.arrows[room]), set())
            return below[room]

        return [
            (room, name)
            for room, names in sorted(self.arrows.items())
            for name in sorted(names)
            if not any(name in all_below(other) for other in names - {name})
        ]


def room_of(module: str) -> str:
    """Return the room of a module: the folder below ``mtlbench``, or the module itself where it lies in none."""
    return module.split(".")[1]


def role(house: House, room: str) -> str:
    """Return the first sentence of what a room says of itself."""
    file = house.files[f"mtlbench.{room}"]
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0].rstrip(".").replace("``", "`")


def table(house: House) -> str:
    """Return the rooms from the top down, as a table in Markdown."""
    rows = [f"| `{room}` | {role(house, room)} |" for rooms in ORDER for room in rooms]
    return "\n".join(["| room | what it is |", "| --- | --- |", *rows])


WIDTH, HEIGHT, GAP, ROW = 132, 34, 28, 74
"""Of a room, between two rooms, and of a floor in the figure, in pixels."""
SWEEPS = 8
"""How often the rooms of each floor are put in the order of their neighbours' places."""


def placed(house: House) -> dict[str, tuple[float, float]]:
    """Return room → (x, y) of its corner; the ground floor is left out, as the whole house stands on it."""
    floors = house.floors()
    top = max(floors.values())
    rows = [sorted(room for room in floors if floors[room] == top - row) for row in range(top)]
    across = max(map(len, rows)) * (WIDTH + GAP)
    column: dict[str, float] = {}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda room: (_middle(house, room, column), room))
            left = (across - len(row) * (WIDTH + GAP) + GAP) / 2
            column |= {room: left + number * (WIDTH + GAP) for number, room in enumerate(row)}
    return {room: (column[room], 12.0 + number * ROW) for number, row in enumerate(rows) for room in row}


def _middle(house: House, room: str, column: Mapping[str, float]) -> float:
    """Return the mean place of the rooms that an arrow ties to a room."""
    tied = [a if b == room else b for a, b in house.direct() if room in (a, b)]
    places = [column[other] for other in tied if other in column]
    return sum(places) / len(places) if places else 0.0


def figure(house: House) -> str:
    """Return the rooms on their floors, and the arrows that no other way implies, as SVG."""
    places = placed(house)
    across = max(x for x, _ in places.values()) + WIDTH + GAP / 2
    down = max(y for _, y in places.values()) + ROW
    shapes = []
    for room, below in house.direct():
        if below not in places:
            continue
        (x, y), (u, v) = places[room], places[below]
        x, y, u, v = x + WIDTH / 2, y + HEIGHT, u + WIDTH / 2, v - 2
        bend = (v - y) / 2
        path = f"M{x:g} {y:g} C{x:g} {y + bend:g} {u:g} {v - bend:g} {u:g} {v:g}"
        shapes.append(f'<path d="{path}" class="arrow" marker-end="url(#tip)"/>')
    for room, (x, y) in places.items():
        shapes.append(_box(room, x, y, WIDTH))
    ground = ", ".join(sorted(room for room, floor in house.floors().items() if floor == 0))
    shapes.append(_box(f"{ground}: used from every floor", GAP / 2, down, across - GAP))
    size = f'viewBox="0 0 {across:g} {down + ROW:g}" width="{across:g}"'
    style = (
        ".room{fill:#f4f1ea;stroke:#8a7f6d}.name{font:15px sans-serif;text-anchor:middle;fill:#222}"
        ".arrow{fill:none;stroke:#8a7f6d;stroke-width:1.2}"
    )
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#8a7f6d"/></marker></defs>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            "<title>The rooms of mtlbench, and which imports from which</title>",
            f"<style>{style}</style>",
            f'{tip}<rect width="100%" height="100%" fill="#fff"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def _box(text: str, x: float, y: float, width: float) -> str:
    box = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{HEIGHT}" rx="5" class="room"/>'
    return f'{box}<text x="{x + width / 2:g}" y="{y + 22:g}" class="name">{escape(text)}</text>'


def page(text: str, house: House) -> str:
    """Return the page with its table renewed.

    :raises ValueError: when the marks around the table are missing.
    """
    begin, end = "<!-- rooms -->\n", "<!-- end of rooms -->"
    before, after = text.split(begin)[0], text.split(end)[1] if end in text else None
    if begin not in text or after is None:
        raise ValueError(f"{PAGE.name} lacks the marks {begin.strip()} and {end}")
    return f"{before}{begin}{table(house)}\n{end}{after}"


def main() -> None:
    """Write the figure and the table."""
    house = House.read()
    FIGURE.write_text(figure(house), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), house), encoding="utf-8")


if __name__ == "__main__":
    main()
