"""A CloudFront for tests: ministack, from an environment of its own that is made of requirements/cloud.lock once.

What it gets wrong does not matter here: it completes everything at once, and neither serves nor caches anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).parent.parent
LOCK = HOUSE / "requirements" / "cloud.lock"
HOME = Path(sys.prefix) / "cloud"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
STARTED = 60.0


def made() -> Path:
    """The environment's folder, made where there is none of this lock."""
    HOME.parent.mkdir(exist_ok=True)
    with (HOME.parent / "cloud.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, uv = HOME / "of.lock", Path(sys.prefix) / "bin" / "uv"
        if not done.exists() or done.read_bytes() != LOCK.read_bytes():
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, HOME], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", HOME / "bin" / "python", "--require-hashes"]
            subprocess.run([*map(str, install), "-r", str(LOCK)], check=True)
            done.write_bytes(LOCK.read_bytes())
    return HOME


@dataclass(frozen=True)
class Cloud:
    """Where it answers."""

    url: str

    @cached_property
    def front(self) -> Any:
        """A client of the test's own."""
        import boto3

        return boto3.client("cloudfront", endpoint_url=self.url, region_name="us-east-1", **KEYS)

    def distribution(self, *origins: str, path: str = "") -> str:
        """A new one; its id."""
        common = {"DomainName": "b.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
        items = [{"Id": origin, "OriginPath": path, **common} for origin in origins or ("site",)]
        config = {
            "CallerReference": os.urandom(8).hex(), "Comment": "", "Enabled": True,
            "Origins": {"Quantity": len(items), "Items": items},
            "DefaultCacheBehavior": {
                "TargetOriginId": items[0]["Id"], "ViewerProtocolPolicy": "allow-all", "MinTTL": 0,
                "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}},
            },
        }  # fmt: skip
        return str(self.front.create_distribution(DistributionConfig=config)["Distribution"]["Id"])

    def invalidations(self, id: str) -> list[dict[str, Any]]:
        """What was asked of a distribution."""
        found = self.front.list_invalidations(DistributionId=id)["InvalidationList"].get("Items", ())
        whole = [self.front.get_invalidation(DistributionId=id, Id=i["Id"])["Invalidation"] for i in found]
        return [w["InvalidationBatch"] for w in whole]


@contextlib.contextmanager
def cloud() -> Iterator[Cloud]:
    """One that runs until the block ends. RuntimeError where it does not start."""
    home = made()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1"}
    quiet = {"IOT_MTLS_PORT": "0", "SFTP_PORT": "0"}
    server = subprocess.Popen(
        [home / "bin" / "ministack"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, **where, **quiet}, cwd=home,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + STARTED
        while not _answers(url):
            if time.monotonic() > until or server.poll() is not None:
                raise RuntimeError("ministack does not start")
            time.sleep(0.05)
        yield Cloud(url)
    finally:
        server.terminate()
        server.wait(10)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_ministack/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False
