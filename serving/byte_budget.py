"""How many bytes of request bodies are held at a time, over all requests of both doors."""

from collections.abc import Callable

from serving.errors import Overloaded


class ByteBudget:
    """Bounds the memory of bodies; `shed(reason)` is told of each request that is refused."""

    def __init__(self, most: int, shed: Callable[[str], None]) -> None:
        self._most = most
        self._shed = shed
        self.held = 0

    def require(self, size: int) -> None:
        """Refuse a body of so many bytes that will not fit, before it is read.

        Raises:
            Overloaded: it would exceed the budget.
        """
        if self.held + size > self._most:
            self._shed("bytes")
            raise Overloaded(
                f"bodies of {self.held} bytes are held and {size} more do not fit, at most "
                f"{self._most} are taken at a time: try again later"
            )

    def take(self, size: int) -> None:
        """Hold so many bytes more; whoever takes them gives them back.

        Raises:
            Overloaded: as for `require`; nothing was taken.
        """
        self.require(size)
        self.held += size

    def give_back(self, size: int) -> None:
        """Let go of bytes that were taken."""
        self.held -= size
