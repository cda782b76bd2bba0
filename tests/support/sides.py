"""Two servers as the two sides of a copy: a profile of the AWS configuration for each."""

from pathlib import Path

import pytest

from tests.servers.server import S3Server


def configure(monkeypatch: pytest.MonkeyPatch, folder: Path, source: S3Server, destination: S3Server) -> None:
    """Makes the profiles `source` and `destination`."""
    file = folder / "aws-config"
    file.write_text(_profile("source", source) + _profile("destination", destination))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))


def _profile(name: str, server: S3Server) -> str:
    return (
        f"[profile {name}]\naws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
        f"region = {server.region_name}\nendpoint_url = {server.endpoint_url}\n"
    )
