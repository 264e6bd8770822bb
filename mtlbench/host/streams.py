"""Standard output and error: escape sequences, and text that any encoding can represent."""

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
"""ASCII for the symbols in our own texts. Greek letters are spelled out; super- and subscripts become digits."""
SUBSTITUTE = "mtlbench.substitute"
"""Name of the encoding error handler that writes :data:`SUBSTITUTES`."""
ESCAPE = "mtlbench.escape"
"""Name of the encoding error handler that writes JSON escapes."""


def takes_escapes() -> bool:
    """Return whether standard output is a terminal that supports escape sequences, and the user allows them.

    ``TERM=dumb`` means that the terminal does not support them; ``NO_COLOR``, that the user does not want them
    (https://no-color.org).
    """
    supported = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return sys.stdout.isatty() and supported and not os.environ.get("NO_COLOR")


def make_streams_safe() -> None:
    """Let standard output and error write any text: :func:`substitute` replaces what their encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SUBSTITUTE)


def print_data(text: str, format: str) -> None:
    """Print a text meant for programs. JSON and HTML are UTF-8 by definition: in any other encoding they become ASCII.

    :param text: the text; line breaks at its end are replaced by a single one.
    :param format: ``json`` and ``html`` are escaped without loss by their own rules; any other format is printed as is.
    """
    encoding = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name
    handler = {"json": ESCAPE, "html": "xmlcharrefreplace"}.get(format)
    if handler is not None and encoding != "utf-8":
        text = text.encode("ascii", handler).decode("ascii")
    print(text.rstrip("\n"))


def substitute(error: UnicodeError) -> tuple[str, int]:
    """Return ASCII for the characters that an encoding lacks: an error handler for :mod:`codecs`.

    Characters not in :data:`SUBSTITUTES` are escaped as by :func:`mtlbench.host.safe_names.visible`, such as
    ``\\u4f60``, so that different texts stay different.

    :param error: the encoding error.
    :returns: the replacement, and the position at which encoding continues.
    :raises UnicodeError: the error itself, if it is not an encoding error.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    replacement: list[str] = []
    after_superscript = False
    for character in error.object[error.start : error.end]:
        is_superscript = unicodedata.decomposition(character).startswith("<super>")
        replacement.append("^" if is_superscript and not after_superscript else "")
        replacement.append(SUBSTITUTES.get(character) or _spelled(character))
        after_superscript = is_superscript
    return "".join(replacement), error.end


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
