"""Figures as inline SVG for a page: colours of the page, unique identifiers, and text for screen readers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
VARIABLES = {
    style.INK: "currentColor",
    style.QUIET: "var(--quiet)",
    style.LINE: "var(--line)",
    style.PAPER: "var(--paper)",
    "#0072b2": "var(--blue)",
    "#3a93d0": "var(--sky)",
}
"""CSS colour of the page by colour in the file. Both blues are lighter on a dark page, for contrast."""


def inline(figure: Figure, prefix: str) -> str:
    """Return the figure as one ``<svg>`` element for light and dark pages.

    Ink becomes ``currentColor``, and the other colours of :data:`VARIABLES` become CSS variables of the page.

    :param figure: the figure.
    :param prefix: prefix of every identifier, unique within the page.
    """
    root = ElementTree.fromstring(figure.svg)
    _strip(root)
    used = set(re.findall(r"#([\w.-]+)", " ".join(v for e in root.iter() for k, v in e.attrib.items() if k != "style")))
    used |= set(re.findall(r"url\(#([\w.-]+)\)", figure.svg))
    for element in root.iter():
        _rewrite(element, prefix, used)
    _name(root, figure, prefix)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode").strip()


def _strip(root: ElementTree.Element) -> None:
    """Remove metadata, and the style sheet, which would apply to the whole page (page/page.css has its rules)."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)


def _rewrite(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    """Prefix identifiers, drop those without references, and replace the file's colours."""
    for name, value in list(element.attrib.items()):
        if name == "id":
            if value in used:
                element.set(name, f"{prefix}-{value}")
            else:
                del element.attrib[name]
        elif name in (f"{{{XLINK}}}href", "href"):
            element.set(name, f"#{prefix}-{value.removeprefix('#')}")
        else:
            value = re.sub(r"url\(#", f"url(#{prefix}-", value)
            element.set(name, re.sub(r"#[0-9a-f]{6}", lambda match: VARIABLES.get(match[0], match[0]), value))


def _name(root: ElementTree.Element, figure: Figure, prefix: str) -> None:
    """Add title and description, and leave the size to the page."""
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    for place, (tag, text) in enumerate((("title", figure.title), ("desc", figure.description))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{prefix}-{tag}"})
        element.text = text
        root.insert(place, element)
