"""Sequences whose elements are made when they are asked for: a million unique-ids need no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class LazySequence(Sequence[T_co]):
    """One thing that is known of each message of an index."""

    def __init__(
        self, index: Sized, element: Callable[[int], T_co], elements: Callable[[], Iterator[T_co]] | None = None
    ) -> None:
        """Make elements by a function.

        Args:
            index: Has as many messages as this has elements, and always will.
            element: Gives the one for a message, counted from 0.
            elements: Gives all of them, where that is quicker than one after the other.
        """
        self._length = len(index)
        self._element = element
        self._elements = elements

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, message: int) -> T_co: ...
    @overload
    def __getitem__(self, message: slice) -> Sequence[T_co]: ...
    def __getitem__(self, message: int | slice) -> T_co | Sequence[T_co]:
        """Return one element, or some.

        Raises:
            IndexError: There is no such message; negative numbers do not count from the end.
        """
        if isinstance(message, slice):
            return [self._element(at) for at in range(*message.indices(self._length))]
        if not 0 <= message < self._length:
            raise IndexError(message)
        return self._element(message)

    def __iter__(self) -> Iterator[T_co]:
        """Yield all of them."""
        return self._elements() if self._elements else map(self._element, range(self._length))
