"""``mtlbench tune``: the same number of trials and the same learning rates for every method."""
