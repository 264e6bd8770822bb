"""The page of a map: one HTML file that needs no network, and no scripts to be read."""

from mtlbench.map.page.write import write_page

__all__ = ["write_page"]
