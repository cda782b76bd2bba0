"""Memory into which connections read."""

#: Bytes of one read.
BUFFER_SIZE = 256 * 1024


class Buffers:
    """The read buffers of one loop. All connections read into the same one, so that it stays in the cache."""

    def __init__(self) -> None:
        self.current = memoryview(bytearray(BUFFER_SIZE))
        self._free: list[memoryview] = []

    def lend(self) -> memoryview:
        """Gives the current buffer to a connection whose data is still in use; from now on another is read into."""
        lent = self.current
        self.current = self._free.pop() if self._free else memoryview(bytearray(BUFFER_SIZE))
        return lent

    def give_back(self, buffer: memoryview) -> None:
        """Takes a buffer back whose data is no longer in use."""
        self._free.append(buffer)
