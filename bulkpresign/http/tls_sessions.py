"""Resumes TLS sessions: the second connection to a server checks no certificate again, and takes less CPU.

Source: RFC 8446, 2.2 (session tickets).
"""

import ssl
from typing import ClassVar


class ResumingSSLObject(ssl.SSLObject):
    """A TLS connection that offers the session of an earlier one, of the same context and to the same host."""

    #: By host name. Each context has a subclass with its own: a session holds its context, so they are freed together.
    sessions: ClassVar[dict[str | None, ssl.SSLSession]]
    _has_begun = False

    def do_handshake(self) -> None:
        """The handshake, in several calls; the first one offers the session."""
        if not self._has_begun:
            self._has_begun = True
            known = self.sessions.get(self.server_hostname)
            if known is not None:
                self.session = known
        super().do_handshake()

    def remember_session(self) -> None:
        """Keeps the session for the next connection. Call it after a response: servers send their tickets before it."""
        if self.session is not None and self.session.has_ticket:
            self.sessions[self.server_hostname] = self.session


def resume_sessions(context: ssl.SSLContext) -> None:
    """Lets the connections of a context resume the sessions of earlier ones."""

    class _Resuming(ResumingSSLObject):
        sessions: ClassVar[dict[str | None, ssl.SSLSession]] = {}

    context.sslobject_class = _Resuming
