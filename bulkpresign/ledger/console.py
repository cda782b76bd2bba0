"""Standard error: messages as lines or as JSON objects, and one status line below them.

If the stream can't be written, later messages are dropped, and the run continues.
"""

import os
import shutil
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO


class Console:
    """Writes to `stream`, by default standard error. Several threads may use it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._lock = threading.Lock()
        self._status = ""
        self._is_broken = False
        #: True if every line is a JSON object.
        self.is_json = False

    @property
    def is_terminal(self) -> bool:
        """True for a terminal."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    @property
    def width(self) -> int:
        """The current columns of the terminal, minus one: in some terminals, a character in the last column wraps."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return max(1, (columns or shutil.get_terminal_size().columns) - 1)

    @property
    def can_draw(self) -> bool:
        """True if the stream can show the Unicode characters of a smooth bar."""
        return (getattr(self._stream, "encoding", None) or "").lower().replace("-", "") == "utf8"

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr

    def row(self, row: Mapping[str, object]) -> None:
        """Writes one JSON object, with the time in UTC."""
        import json  # escapes all special characters of a name: line ends, control characters, lone surrogates

        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.line(json.dumps({"time": now, **row}))

    def line(self, text: str) -> None:
        """Writes one line, above the status line if there is one."""
        with self._lock:
            status = self._status
            self._write(f"{self._replacement('')}{text}\n{status}")
            self._status = status

    def draw(self, status: str) -> None:
        """Replaces the status line."""
        with self._lock:
            self._write(self._replacement(status))

    def end_status(self) -> None:
        """Ends the status line, which stays on the screen."""
        with self._lock:
            if self._status:
                self._status = ""
                self._write("\n")

    def _replacement(self, status: str) -> str:
        """The text that replaces the status line. Blanks overwrite the rest of a longer old one."""
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
        except (OSError, ValueError):  # a full disk, a closed pipe or terminal
            self._is_broken = True
