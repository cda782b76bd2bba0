"""Standard error: messages as lines or as JSON objects, and one status line below them.

Nobody has to read it. A stream that can't be written to is given up, and the run goes on.
"""

import os
import shutil
import sys
import threading
from collections.abc import Mapping
from typing import TextIO


class Console:
    """One stream. `stream` is standard error unless given; it may be written to from several threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._lock = threading.Lock()
        self._status = ""
        self._is_broken = False
        #: True where every line is a JSON object.
        self.is_json = False

    @property
    def is_terminal(self) -> bool:
        """True where somebody may look at it."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    @property
    def width(self) -> int:
        """The columns of the terminal as it is now, less the last: a character there would wrap in some terminals."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return max(1, (columns or shutil.get_terminal_size().columns) - 1)

    @property
    def can_draw(self) -> bool:
        """True where the stream takes the characters of a smooth bar."""
        return (getattr(self._stream, "encoding", None) or "").lower().replace("-", "") == "utf8"

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr

    def row(self, row: Mapping[str, object]) -> None:
        """One JSON object."""
        import json  # it escapes whatever a name may hold: line ends, what steers a terminal, half a character

        self.line(json.dumps(row))

    def line(self, text: str) -> None:
        """One line, above the status line where there is one."""
        with self._lock:
            status = self._status
            self._write(f"{self._over('')}{text}\n{status}")
            self._status = status

    def draw(self, status: str) -> None:
        """Replaces the status line."""
        with self._lock:
            self._write(self._over(status))

    def leave(self) -> None:
        """Ends the status line; it stays where it is."""
        with self._lock:
            if self._status:
                self._status = ""
                self._write("\n")

    def _over(self, status: str) -> str:
        """The text that replaces the status line. Blanks cover the rest of the old one, as far as the terminal goes."""
        if not self._status and not status:
            return ""
        blanks = min(len(self._status), self.width) - len(status)
        self._status = status
        return f"\r{status}{' ' * blanks}" + ("" if status else "\r")

    def _write(self, text: str) -> None:
        if self._is_broken:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, a reader that left, a terminal that was closed
            self._is_broken = True
