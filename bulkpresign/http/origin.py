"""The server that a request goes to: scheme, host and port of a url."""

from urllib.parse import urlsplit

_STANDARD_PORTS = {"http": 80, "https": 443}


class Origin:
    """Scheme, host and port of a server, with the head lines that every request to it has."""

    def __init__(self, url: str) -> None:
        """`url` is `http(s)://host[:port]`. Raises ValueError where it is not valid."""
        parsed = urlsplit(url)
        if parsed.scheme not in _STANDARD_PORTS or not parsed.hostname:
            raise ValueError("it is not http(s), or names no host")
        self.scheme = parsed.scheme
        self.is_tls = parsed.scheme == "https"
        standard = _STANDARD_PORTS[parsed.scheme]
        self.host = parsed.hostname
        self.port = standard if parsed.port is None else parsed.port
        if not self.port:
            raise ValueError("nothing listens on port 0")
        try:
            self.host.encode("idna")  # as the resolver does
        except UnicodeError as error:
            raise ValueError("its host has an empty label, or one of over 63 characters") from error
        #: The value of the header Host; without user and password, which stand before an @.
        self.name = parsed.netloc.rpartition("@")[2].removesuffix(f":{standard}").removesuffix(":")
        #: The lines of the headers that every request to it has.
        self.head = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}"

    def __repr__(self) -> str:
        return f"<Origin {self}>"
