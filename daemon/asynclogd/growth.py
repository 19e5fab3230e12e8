"""Memory that grows while nobody completes a message: pure.

libzmq limits the size of a frame, and counts messages, but it takes the frames of one message without end. Which
connection does that it does not tell either. What can be told is that memory grows, and who has been silent meanwhile.
"""

from __future__ import annotations

from collections import deque

ALARMING_BYTES = 256 << 20
WINDOW_SECONDS = 60.0


class Growth:
    """Samples of the process' memory."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def since(self, now: float, rss: int) -> float | None:
        """Note that the process has `rss` bytes now. Since when it has grown by ALARMING_BYTES, the latest such moment;
        None when it has not, within WINDOW_SECONDS. Growth is told once.
        """
        while self._samples and now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        grown = next((time for time, before in reversed(self._samples) if rss - before >= ALARMING_BYTES), None)
        if grown is not None:
            self._samples.clear()
        self._samples.append((now, rss))
        return grown
