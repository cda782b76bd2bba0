"""nginx as a light server: it needs so little time that a benchmark measures the client.

A GET answers with a static file. A PUT stores its body with nginx's dav module, and the response proves it as S3 does:
with the md5 as etag, which the configuration lists for every path, and with the checksum that the request carries.
Signatures are not checked.
"""

import http.client
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import on_core
from benchmarks.transfers import Server
from bulkpresign.demo.daemon import HOST, Daemon, free_ports, wait_until

PROTOCOLS = "http", "https"
NAMES = HTTP, HTTPS = "nginx, http", "nginx, https"
#: The Debian package of each program.
PACKAGES = {"nginx": "nginx-light", "openssl": "openssl"}
#: On Debian, nginx is where only root looks for programs.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
_CERTIFICATE, _KEY, _ETAGS, _OBJECTS = "certificate.pem", "key.pem", "etags.map", "objects"
_CONFIG = f"""\
daemon off;
worker_processes 1;
pid nginx.pid;
{{user}}
events {{{{ worker_connections 4096; }}}}
http {{{{
    access_log off;
    etag off;
    sendfile on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    map_hash_max_size 262144;
    map_hash_bucket_size 128;
    map "$request_method $uri" $stored_etag {{{{ include {_ETAGS}; }}}}
    add_header ETag $stored_etag;
    add_header x-amz-checksum-crc64nvme $http_x_amz_checksum_crc64nvme;
    server {{{{
        listen {HOST}:{{http}};
        listen {HOST}:{{https}} ssl;
        ssl_certificate {_CERTIFICATE};
        ssl_certificate_key {_KEY};
        location / {{{{
            root {_OBJECTS};
            dav_methods PUT;
            create_full_put_path on;
        }}}}
        location = {{probe}} {{{{ return 204; }}}}
    }}}}
}}}}
"""


def missing() -> str | None:
    """The programs that are missing and the command that installs them, or None."""
    programs = [program for program in PACKAGES if not shutil.which(program, path=_PATH)]
    if not programs:
        return None
    packages = " ".join(PACKAGES[program] for program in programs)
    return f"{', '.join(f'{program} is missing' for program in programs)}: apt-get install {packages}"


@contextmanager
def started(folder: Path, etags: Iterable[tuple[str, str]]) -> Iterator[tuple[Server, Server]]:
    """nginx by http and by https on the first core; files and logs are in `folder`.

    `etags` are `/bucket/key` and md5 of every object.
    """
    probe = f"/ready-{secrets.token_hex(8)}"
    http_port, https_port = free_ports(2)
    (folder / _OBJECTS).mkdir(parents=True)
    _make_certificate(folder)
    with (folder / _ETAGS).open("w") as stream:
        stream.writelines(f"'PUT {path}' '\"{etag}\"';\n" for path, etag in etags)
    user = "user root;" if os.geteuid() == 0 else ""  # as another user it could not enter a temporary folder
    (folder / "nginx.conf").write_text(_CONFIG.format(user=user, http=http_port, https=https_port, probe=probe))
    command = [shutil.which("nginx", path=_PATH) or "nginx", "-p", ".", "-c", "nginx.conf", "-e", "stderr"]
    with on_core(0):
        daemon = Daemon(command, log=folder / "nginx.log", folder=folder, env={"PATH": _PATH})
    with daemon:
        wait_until(lambda: _answers(http_port, probe), daemon)
        yield (
            _server(HTTP, f"http://{HOST}:{http_port}", folder),
            _server(HTTPS, f"https://{HOST}:{https_port}", folder),
        )


def _server(name: str, endpoint_url: str, folder: Path) -> Server:
    environment = {
        "AWS_ACCESS_KEY_ID": "nginx",
        "AWS_SECRET_ACCESS_KEY": "nginx",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint_url,
    }
    certificate = folder / _CERTIFICATE if endpoint_url.startswith("https") else None
    return Server(name, environment, certificate, folder / _OBJECTS)


def _make_certificate(folder: Path) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    name = ("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}")
    command = ["openssl", "req", "-x509", *curve, *name, "-out", _CERTIFICATE, "-keyout", _KEY]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


def _answers(port: int, probe: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", probe)
        return connection.getresponse().status == 204
    finally:
        connection.close()
