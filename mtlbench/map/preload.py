"""What training a shard needs, imported once by the server that all processes come from: it takes seconds each time."""

import torch._dynamo  # noqa: F401  torch imports it with the first optimizer

import mtlbench.map.trainer  # noqa: F401
from mtlbench.batched import has_form
from mtlbench.engine.library import get_method

has_form(get_method("sum"))  # imports all methods and their batched forms
