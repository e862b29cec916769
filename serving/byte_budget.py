"""How many bytes are held at a time, over all requests of both doors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.errors import Overloaded


class ByteBudget:
    """Bounds the memory of `what`; `shed(reason)` is told of each request that is refused."""

    def __init__(self, most: int, shed: Callable[[str], None], what: str = "bodies") -> None:
        self._most = most
        self._shed = shed
        self._what = what
        self.held = 0

    def require(self, size: int) -> None:
        """Refuse so many bytes that will not fit, before they are there.

        Raises:
            Overloaded: they would exceed the budget.
        """
        if self.held + size > self._most:
            self._shed("bytes")
            raise Overloaded(
                f"{self._what} of {self.held} bytes are held and {size} more do not fit, at most "
                f"{self._most} are taken at a time: try again later"
            )

    def take(self, size: int) -> None:
        """Hold so many bytes more; whoever takes them gives them back.

        Raises:
            Overloaded: as for `require`; nothing was taken.
        """
        self.require(size)
        self.held += size

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold so many bytes for the length of the block; raises as `take` does."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)

    def give_back(self, size: int) -> None:
        """Let go of bytes that were taken."""
        self.held -= size
