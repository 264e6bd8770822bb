"""Standard output and error: whether they take escapes, and text that any encoding can hold."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
import unicodedata
from pathlib import Path

SUBSTITUTES = {
    **{"Δ": "D", "Σ": "sum ", "Π": "prod ", "∇": "grad ", "∂": "d", "√": "sqrt ", "∞": "inf", "∝": "~", "∘": "o"},
    **{"≥": ">=", "≤": "<=", "≠": "!=", "±": "+-", "−": "-", "–": "-", "×": "x", "÷": "/", "·": ".", "½": "1/2"},
    **{"→": "->", "←": "<-", "↦": "->", "↑": "^", "↓": "v", "▼": "v", "†": "*", "‡": "**", "…": "...", "′": "'"},
    **{"‖": "||", "⟨": "<", "⟩": ">", "─": "-", "━": "-", "╸": "-", "╺": "-", "•": "*", "\u0302": "^", "\u0303": "~"},
}
"""ASCII for the signs of our own texts; Greek letters are written out, super- and subscripts become digits."""
SUBSTITUTE = "mtlbench.substitute"
"""The name of the encoding error handler that writes :data:`SUBSTITUTES`."""
ESCAPE = "mtlbench.escape"
"""The name of the encoding error handler that writes JSON's own escapes."""


def takes_escapes() -> bool:
    """Return whether standard output is a terminal that obeys escape sequences, and the user does not refuse them.

    ``TERM=dumb`` says that it does not obey them; ``NO_COLOR`` that the user wants none (https://no-color.org).
    """
    obeys = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return sys.stdout.isatty() and obeys and not os.environ.get("NO_COLOR")


def make_streams_safe() -> None:
    """Let standard output and error write any text: :func:`substitute` gives what their encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SUBSTITUTE)


def print_data(text: str, format: str) -> None:
    """Print a text that programs read. JSON and HTML are UTF-8 by definition: in another encoding they are ASCII.

    :param format: ``json`` and ``html`` are escaped without loss by their own rules; any other is printed as it is.
    """
    encoding = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name
    handler = {"json": ESCAPE, "html": "xmlcharrefreplace"}.get(format)
    if handler is not None and encoding != "utf-8":
        text = text.encode("ascii", handler).decode("ascii")
    print(text.rstrip("\n"))


def substitute(error: UnicodeError) -> tuple[str, int]:
    """Return ASCII for the characters that an encoding lacks, and where to go on: a handler for :mod:`codecs`.

    :data:`SUBSTITUTES` first; other characters are written as :func:`mtlbench.host.safe_names.visible` writes them, such as
    ``\\u4f60``, so that no two texts become one.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written: list[str] = []
    raised = False
    for character in error.object[error.start : error.end]:
        is_superscript = unicodedata.decomposition(character).startswith("<super>")
        written.append("^" if is_superscript and not raised else "")
        written.append(SUBSTITUTES.get(character) or _spelled(character))
        raised = is_superscript
    return "".join(written), error.end


def _spelled(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("GREEK "):
        letter = name.rpartition("LETTER ")[2].partition(" ")[0].lower().replace("lamda", "lambda")
        return letter.capitalize() if "CAPITAL" in name else letter
    if unicodedata.decomposition(character).startswith(("<super>", "<sub>")):
        plain = unicodedata.normalize("NFKD", character)
        return SUBSTITUTES.get(plain, plain)
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(SUBSTITUTE, substitute)
codecs.register_error(ESCAPE, _escape)
