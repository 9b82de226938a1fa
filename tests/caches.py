"""Varnish and nginx as people put them before a site, each a real process that reads from a bucket."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storefront import Bucket

STARTED = 20.0

VCL = """
vcl 4.1;
backend default {{ .host = "{host}"; .port = "{port}"; }}
sub vcl_recv {{
  if (req.url ~ "/$") {{ set req.url = req.url + "index.html"; }}
  if (req.method == "PURGE") {{
    if (req.http.X-Purge-Token != "letmein") {{ return (synth(403)); }}
    return (purge);
  }}
}}
sub vcl_backend_fetch {{ set bereq.url = "{folder}" + bereq.url; set bereq.http.Host = "{host}:{port}"; }}
sub vcl_backend_response {{ set beresp.ttl = 10m; set beresp.grace = 0s; return (deliver); }}
"""

NGINX = """
daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {home}/body; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  proxy_temp_path {home}/tmp; proxy_cache_path {home}/cache keys_zone=site:1m;
  gzip on; gzip_min_length 1; gzip_types *;
  server {{
    listen 127.0.0.1:{own};
    rewrite ^(.*)/$ $1/index.html last;
    location / {{
      proxy_pass http://{host}:{port}{folder}$request_uri_path; proxy_set_header Host {host}:{port};
      proxy_cache site; proxy_cache_key $host$uri; proxy_cache_valid 200 10m;
      proxy_ignore_headers Cache-Control Expires;
    }}
  }}
}}
"""


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _needs(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {'nginx-light' if name == 'nginx' else 'varnish'}")
    return found


def _started(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + STARTED
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"it does not start: {process.args!r}")


@contextlib.contextmanager
def varnish(bucket: Bucket, home: Path) -> Iterator[str]:
    """ "127.0.0.1:port" of a Varnish that keeps everything of a site for ten minutes."""
    program, own = _needs("varnishd"), _free()
    host, _, port = bucket.url.removeprefix("http://").partition(":")
    (home / "site.vcl").write_text(VCL.format(host=host, port=port, folder=f"/{bucket.name}/www"))
    command = [program, "-F", "-a", f"127.0.0.1:{own}", "-T", "none", "-f", home / "site.vcl", "-n", home / "varnish"]
    with _run([*map(str, command), "-s", "malloc,16m", "-j", "none"], own):
        yield f"127.0.0.1:{own}"


@contextlib.contextmanager
def nginx(bucket: Bucket, home: Path) -> Iterator[str]:
    """ "127.0.0.1:port" of an nginx that keeps everything of a site for ten minutes, packs it, and cannot be purged."""
    program, own = _needs("nginx"), _free()
    host, _, port = bucket.url.removeprefix("http://").partition(":")
    text = NGINX.format(home=home, own=own, host=host, port=port, folder=f"/{bucket.name}/www")
    (home / "nginx.conf").write_text(text.replace("$request_uri_path", "$uri"))
    with _run([program, "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")], own):
        yield f"127.0.0.1:{own}"


@contextlib.contextmanager
def _run(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _started(process, port)
        yield
    finally:
        process.terminate()
        process.wait(10)
