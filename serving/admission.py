"""Whether more rows can be taken: as many as fit, and none whose deadline is already lost.

How long rows will take is told from the rate of late, measured only while there was enough to do:
a service with two rows inside says nothing of what it can do with two hundred.
"""

from collections.abc import Callable

from serving.errors import Overloaded

# With so many rows inside nothing idles; with fewer, nobody is refused for want of time.
BUSY_ROWS = 8
# Older work counts less, and a rate that nothing has confirmed for so long is none.
WINDOW_S = 10.0
# So much has to be measured before it is believed.
LEAST_S = 1.0
DEFAULT_RETRY_S = 1.0


class Rate:
    """Rows a second of late. Times are those of one clock, in seconds."""

    def __init__(self) -> None:
        self._rows = 0.0
        self._seconds = 0.0
        self._busy_since: float | None = None
        self._measured_at = 0.0

    def finished(self, rows: int, left: int, now: float) -> None:
        """Rows got their answers and `left` are still inside."""
        if self._busy_since is not None:
            if now - self._measured_at > WINDOW_S:
                # Forgotten already: one new row does not confirm it.
                self._rows = self._seconds = 0.0
            self._rows += rows
            self._seconds += now - self._busy_since
            self._measured_at = now
            kept = min(1.0, WINDOW_S / max(self._seconds, WINDOW_S))
            self._rows *= kept
            self._seconds *= kept
        self._busy_since = now if left >= BUSY_ROWS else None

    def failed(self) -> None:
        """What ends in an error says nothing of the rate."""
        self._busy_since = None

    def seconds_for(self, rows: int, now: float) -> float | None:
        """How long so many rows will take, or None where nothing is known."""
        if now - self._measured_at > WINDOW_S or self._seconds < LEAST_S or self._rows <= 0:
            return None
        return rows * self._seconds / self._rows


class Admission:
    """Bounded in rows and, by a rate, in time; `shed(reason)` is told of each refused request."""

    def __init__(self, max_rows: int, shed: Callable[[str], None], rate: Rate) -> None:
        self._max_rows = max_rows
        self._shed = shed
        self._rate = rate

    def require(self, inside: int, rows: int, deadline: float, now: float) -> None:
        """Let so many more rows in beside those inside.

        Raises:
            Overloaded: they do not fit, or would not be done by their deadline; with the time
                after which what is inside now will be done.
        """
        wait = self._rate.seconds_for(inside, now)
        again = DEFAULT_RETRY_S if wait is None else min(wait, WINDOW_S)
        if inside + rows > self._max_rows:
            self._shed("queue_full")
            raise Overloaded(
                f"{inside} rows are inside and {rows} more do not fit, at most {self._max_rows} "
                "are taken: try again later",
                retry_after_s=again,
            )
        needed = self._rate.seconds_for(inside + rows, now)
        if inside >= BUSY_ROWS and needed is not None and now + needed > deadline:
            self._shed("no_time")
            raise Overloaded(
                f"{inside} rows are inside, and at the rate of late {rows} more would take "
                f"{needed:.1f} s, which is past the deadline: try again later or allow more time",
                retry_after_s=again,
            )
