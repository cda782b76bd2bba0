"""The problem of a TLS handshake in words. The number of such an error is OpenSSL's, and no errno."""

import ssl

#: OpenSSL's codes for a certificate that nothing here has signed: another file of certificates would.
_UNKNOWN_ISSUER = (18, 19, 20, 21)
#: OpenSSL's reasons for an error where the server answers in plain HTTP, or in another protocol.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")


def certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """Why a certificate is not trusted, and what helps."""
    advice = "; --ca-bundle FILE names one to trust" if error.verify_code in _UNKNOWN_ISSUER else ""
    return f"the certificate is not trusted: {error.verify_message}{advice}"


def handshake_problem(error: BaseException) -> str | None:
    """Why a handshake failed; None for any other error."""
    if isinstance(error, ssl.SSLError):
        if error.reason in _NOT_TLS:
            return "the server does not speak TLS; is its url http://?"
        return f"no TLS: {error.reason.lower().replace('_', ' ') if error.reason else type(error).__name__}"
    if isinstance(error, ConnectionResetError) and error.errno is None:  # asyncio's, where a handshake ends early
        return "the server closed the connection before TLS began; is its url http://?"
    return None
