"""``mtlbench run``: train a grid of methods × seeds, cell by cell."""
