"""Base class of methods that modify other methods."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, cast

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError


@dataclass
class Wrapper(Method):
    """Base of methods that modify another method: a wrapper ``log`` around ``cagrad`` is the method ``log-cagrad``.

    :meth:`around` mixes the wrapper into the inner method's class. Parameters, state and declarations are those of the
    inner method, except those that the wrapper declares itself; call ``super()`` for the inner method's results.

    >>> from dataclasses import dataclass
    >>> from mtlbench import Wrapper, get_method, weights
    >>> @dataclass
    ... class Halved(Wrapper):
    ...     "Half the weights of another method."
    ...     name = "halved"
    ...     def weights(self, observation):
    ...         return 0.5 * super().weights(observation)
    >>> method = Halved.around(type(get_method("sum")))()
    >>> method.name
    'halved-sum'
    >>> weights(method, gram=[[4.0, 0.0], [0.0, 16.0]]).tolist()
    [0.5, 0.5]
    """

    example: ClassVar[str] = ""
    """A typical inner method by name. Lists and the certificate show the wrapper around it."""
    parts: ClassVar[tuple[type[Method], ...]] = ()
    """The classes of the wrapper and of the inner method, in a class returned by :meth:`around`."""

    @classmethod
    def accepts(cls, inner: type[Method]) -> str | None:
        """Return why an inner method cannot be wrapped, or ``None`` if it can.

        :param inner: the class of the inner method.
        """
        return None

    @classmethod
    def around(cls, inner: type[Method]) -> type[Method]:
        """Return the class of this wrapper around a method.

        :param inner: the class of the inner method.
        :raises UsageError: when both have a field of the same name.
        """
        own = {field.name for field in dataclasses.fields(cls)} - {field.name for field in dataclasses.fields(Method)}
        common = own & {field.name for field in dataclasses.fields(inner)}
        if common:
            names = ", ".join(sorted(common))
            raise UsageError(f"method {cls.name}-{inner.name}: both parts have a field named {names}")
        members = {
            "name": f"{cls.name}-{inner.name}",
            "search": {**inner.search, **cls.search},
            "parts": (cls, inner),
            "source": f"{cls.source}; around {inner.name}: {inner.source}",
            "__doc__": f"{cls.__doc__}\n\nAround {inner.name}: {inner.__doc__}",
            "__module__": cls.__module__,
        }
        wrapped = type(f"{cls.__name__}{inner.__name__}", (cls, inner), members)
        return cast(type[Method], dataclass(wrapped))
