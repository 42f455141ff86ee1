"""For systems that have any number of object types: sObjects, models, custom objects."""

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class OpenEnded(dict[str, T]):
    """Something by object type; that of one that is not among the known ones is made when it is asked for.

    `is_one` says whether a name can be an object type at all, so it must be total: anything may be looked up.
    """

    def __init__(self, known: Mapping[str, T], is_one: Callable[[object], bool], make: Callable[[str], T]) -> None:
        super().__init__(known)
        self._is_one = is_one
        self._make = make

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or self._is_one(name)

    def __missing__(self, name: str) -> T:
        if self._is_one(name):
            return self._make(name)
        raise KeyError(name)
