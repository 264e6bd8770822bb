"""``mtlbench run``: from the request to a trained grid."""
