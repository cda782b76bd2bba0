"""SeaweedFS, the server that the demo embeds: checks checksums and POST policies; folds awkward keys."""

from collections.abc import Iterator
from contextlib import contextmanager

from bulkpresign.demo.server import EmbeddedServer
from tests.servers.server import S3Server


@contextmanager
def start() -> Iterator[S3Server]:
    with EmbeddedServer() as server:
        yield S3Server("seaweedfs", server.endpoint_url, server.access_key, server.secret_key, server.region_name)
