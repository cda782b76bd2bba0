"""Resumes TLS sessions: the second connection to a server checks no certificate again, and takes less CPU.

Source: RFC 8446, 2.2 (session tickets).
"""

import ssl
from weakref import WeakKeyDictionary

_sessions: "WeakKeyDictionary[ssl.SSLContext, dict[str | None, ssl.SSLSession]]" = WeakKeyDictionary()


class ResumingSSLObject(ssl.SSLObject):
    """A TLS connection that offers the session of an earlier one, of the same context and to the same host.

    A context makes its connections with this class where it is its `sslobject_class`.
    """

    _has_begun = False

    def do_handshake(self) -> None:
        """The handshake, in several calls; the first one offers the session."""
        if not self._has_begun:
            self._has_begun = True
            known = _sessions.get(self.context, {}).get(self.server_hostname)
            if known is not None:
                self.session = known
        super().do_handshake()

    def remember_session(self) -> None:
        """Keeps the session for the next connection. Call it after a response: servers send their tickets before it."""
        if self.session is not None and self.session.has_ticket:
            _sessions.setdefault(self.context, {})[self.server_hostname] = self.session
