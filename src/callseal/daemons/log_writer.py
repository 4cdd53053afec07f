"""Lines of the process log on their way to stderr: whoever writes one never waits for the disk behind it, and never fails by it.

Until `start`, which comes after confinement, lines are written at once. Invariants: lines stand in order; as many as `LIMIT`
wait, and the next one that finds room says how many found none.
"""

import atexit
import threading
from collections import deque
from contextlib import suppress
from typing import Final, TextIO

LIMIT: Final = 2000
END_SECONDS: Final = 1.0


class LogWriter:
    """A text file as the loggers want it. Its thread ends with the process."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._wake = threading.Condition()
        self._is_started = self._is_over = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        """From here on lines are written by a thread; at the end of the process it has `END_SECONDS` for the last of them."""
        self._is_started = True
        self._thread.start()
        atexit.register(self._end)

    def write(self, text: str) -> int:
        """Take some text, whole lines or not."""
        if not self._is_started:
            self._put(text)
            return len(text)
        with self._wake:
            if len(self._lines) >= LIMIT:
                self._dropped += 1
            else:
                if self._dropped:
                    self._lines.append(f'{{"event": "{self._dropped} lines of the log found no room"}}\n')
                    self._dropped = 0
                self._lines.append(text)
            self._wake.notify()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: each text is flushed as it is written."""

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._lines and not self._is_over:
                    self._wake.wait()
                if not self._lines:
                    return
                text = self._lines.popleft()
            self._put(text)

    def _put(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._file.write(text)
            self._file.flush()

    def _end(self) -> None:
        with self._wake:
            self._is_over = True
            self._wake.notify()
        self._thread.join(END_SECONDS)
