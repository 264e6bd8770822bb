"""Methods on many small problems at once: weights of B problems in a few NumPy operations, as in single calls.

:func:`batched` returns the batched form of a method, or B copies of it where no form is registered. Forms are
registered by :func:`form_of`, one module per family of methods.
"""

from mtlbench.batched.arrays import Grams, Rows
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.batched.make import batched, has_form
from mtlbench.batched.one_by_one import OneByOne

__all__ = ["Batched", "Grams", "OneByOne", "Rows", "batched", "form_of", "has_form"]
