"""The client's settings that come from the environment: proxies, and certificates to trust."""

import os
import ssl
from collections.abc import Mapping

from bulkpresign.errors import ParameterError
from bulkpresign.http.origin import Origin


class Proxies:
    """The proxies that the environment names, by scheme. False where there are none."""

    def __init__(self) -> None:
        self._by_scheme = _proxies()

    def __bool__(self) -> bool:
        return bool(self._by_scheme)

    def proxy_for(self, origin: Origin) -> str | None:
        """The url of the proxy for a server; None where there is none, or where `no_proxy` names the server.

        Raises ParameterError where it is not an http(s) proxy.
        """
        from urllib.request import proxy_bypass

        proxy = self._by_scheme.get(origin.scheme)
        if proxy is None or proxy_bypass(origin.name):
            return None
        if not proxy.startswith(("http://", "https://")):
            raise ParameterError(f"the proxy that {origin.scheme}_proxy names is not an http(s) one: unset it")
        return proxy


def proxy_variables(proxy: str) -> str:
    """The names of the variables that name a proxy, as words of a message; empty where none does."""
    names = [name for name, value in os.environ.items() if value == proxy and name.lower().endswith("_proxy")]
    return " and ".join(sorted(names))


def ssl_context_of(ca_bundle: str | None) -> ssl.SSLContext | None:
    """Trusts the certificates of a file (else of AWS_CA_BUNDLE); None, without either, is for those of the system.

    Raises ParameterError where the file can't be used.
    """
    file = ca_bundle or os.environ.get("AWS_CA_BUNDLE")
    if not file:
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"{file} is no file of certificates: {error.strerror or error}") from error


def _proxies() -> Mapping[str, str]:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}  # importing `urllib.request` takes longer than all the rest
    from urllib.request import getproxies

    return getproxies()
