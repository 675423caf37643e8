"""When to log the progress of long work, where no terminal shows a bar."""

import time

LOG_SECONDS = 15  # between two lines


class ProgressClock:
    """Counts the seconds of some work, and those since the last line about it."""

    def __init__(self) -> None:
        self._start = self._logged = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._start

    def is_line_due(self) -> bool:
        """Whether it is time for a line; the next one is due LOG_SECONDS later."""
        now = time.monotonic()
        if now - self._logged <= LOG_SECONDS:
            return False
        self._logged = now
        return True
