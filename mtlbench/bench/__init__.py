"""``mtlbench bench``: step time and peak memory of methods on each engine, relative to a plain sum."""
