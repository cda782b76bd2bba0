"""Messages to workers: each has the version of the package that made it, for another version may have other fields."""

import os
import socket
import threading
from typing import TypeVar

import msgspec

from bulkpresign import __version__
from bulkpresign.errors import ParameterError

T = TypeVar("T")


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    version: str
    message: msgspec.Raw


_envelopes = msgspec.msgpack.Decoder(_Envelope)
_encoder = msgspec.msgpack.Encoder()


def sealed(message: object, encoder: msgspec.msgpack.Encoder = _encoder) -> bytes:
    """An encoded message with the version, for `unsealed` in the worker."""
    return encoder.encode((__version__, message))  # at once: an _Envelope would copy the message


def unsealed(data: bytes, decoder: "msgspec.msgpack.Decoder[T]") -> T:
    """The message. Raises ParameterError for one of another version of the package."""
    envelope = _envelopes.decode(data)
    if envelope.version != __version__:
        raise ParameterError(f"it has bulkpresign {__version__}, and the run has {envelope.version}")
    return decoder.decode(envelope.message)


def worker_name() -> str:
    """The host, process and thread of this worker."""
    return f"{socket.gethostname()} {os.getpid()}.{threading.get_ident()}"
