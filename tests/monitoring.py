"""Real Prometheus and Alertmanager on loopback, with a past that was written beforehand or a small exporter to scrape.

Debian's packages `prometheus` and `prometheus-alertmanager`; without them these tests fail and say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.adapters.http import HttpTarget
from bot.adapters.prometheus import Prometheus, PrometheusTarget
from bot.playground.free_port import free_port
from bot.ports.metrics import Monitor, Watched

Past = Sequence[tuple[str, Callable[[float], float | None], datetime, datetime]]
"""Series as `name{label="value"}`, what it is at a moment (None: a gap), from when to when."""
EVERY = 15
"""Seconds between two points of a past."""


def program(name: str, package: str) -> str:
    """Where it is; a failure that says what to install."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {package}")
    return found


@dataclass
class Exporter:
    """What a service says of itself: name of a series -> its value, read anew at each scrape. down: it answers 500."""

    values: dict[str, float] = field(default_factory=dict)
    down: bool = False
    address: str = ""

    def text(self) -> str:
        """The page."""
        return "".join(f"{name} {value}\n" for name, value in self.values.items())


@contextlib.contextmanager
def exporter(**values: float) -> Iterator[Exporter]:
    """One that can be scraped."""
    state = Exporter(dict(values))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = state.text().encode()
            self.send_response(500 if state.down else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    state.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_past(folder: Path, past: Past) -> None:
    """Blocks of Prometheus' own with these series in them."""
    families: dict[str, list[str]] = {}
    for name, value, start, end in past:
        lines = families.setdefault(name.partition("{")[0], [])
        at = start.timestamp()
        while at <= end.timestamp():
            if (number := value(at)) is not None:
                lines.append(f"{name} {number} {at:.3f}")
            at += EVERY
    text = "".join(f"# TYPE {name} unknown\n" + "\n".join(lines) + "\n" for name, lines in families.items())
    source = folder / "past.txt"
    source.write_text(f"{text}# EOF\n")
    made = [program("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics", "-q"]
    subprocess.run([*made, str(source), str(folder / "data")], check=True, capture_output=True)


@dataclass
class Server:
    """A running Prometheus. config: of its file, applied by `reload`."""

    folder: Path
    url: str
    process: subprocess.Popen[bytes]
    arguments: list[str]
    config: dict[str, Any]

    def reload(self, **config: Any) -> None:
        """Goes on with another configuration. It has no Alertmanager then for about 5 s."""
        self.config |= config
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(self.config))
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/-/reload", method="POST"), timeout=10).close()

    def rules(self, *rules: Mapping[str, Any], group: str = "shop", interval: str = "1s") -> None:
        """Other rules in place of those there were."""
        groups = [{"name": group, "interval": interval, "rules": [dict(r) for r in rules]}]
        text, file = yaml.safe_dump({"groups": groups}), self.folder / "rules.yml"
        if file.read_text() != text:
            file.write_text(text)
            self.reload()

    def ask(self, path: str) -> Any:
        """What its API says."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)["data"]

    def restart(self) -> None:
        """Ends it and begins it again, with what it has stored."""
        _end(self.process)
        self.process = _started(self.arguments, f"{self.url}/-/ready")


@contextlib.contextmanager
def prometheus(
    folder: Path, past: Past = (), scraped: Mapping[str, Sequence[str]] | None = None, alertmanager: str = ""
) -> Iterator[Server]:
    """scraped: job -> addresses. It scrapes and evaluates each second."""
    folder.mkdir(parents=True, exist_ok=True)
    if past:
        write_past(folder, past)
    port = free_port()
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": jobs(scraped or {}),
    }
    if alertmanager:
        there = alertmanager.removeprefix("http://")
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [there]}]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "rules.yml").write_text("groups: []\n")
    arguments = [
        program("prometheus", "prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y", "--web.enable-lifecycle", "--log.level=error",
        "--rules.alert.resend-delay=1s",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    server = Server(folder, url, _started(arguments, f"{url}/-/ready"), arguments, config)
    try:
        yield server
    finally:
        _end(server.process)


def jobs(scraped: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """What is scraped, as the configuration has it; all carry the service's label."""
    return [
        {"job_name": job, "static_configs": [{"targets": [*addresses], "labels": {"service": "shop"}}]}
        for job, addresses in scraped.items()
    ]


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """The URL of one that tells nobody."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"route": {"receiver": "nobody", "group_wait": "1s"}, "receivers": [{"name": "nobody"}]}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    process = _started(
        [
            program("prometheus-alertmanager", "prometheus-alertmanager"),
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--web.listen-address={url.removeprefix('http://')}", f"--storage.path={folder / 'told'}",
            "--cluster.listen-address=", "--log.level=error",
        ],
        f"{url}/-/ready",
    )  # fmt: skip
    try:
        yield url
    finally:
        _end(process)


def silence(url: str, starts: datetime, ends: datetime, comment: str = "quiet", **labels: str) -> str:
    """Makes one; its id."""
    body = {
        "matchers": [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in labels.items()],
        "startsAt": starts.isoformat(),
        "endsAt": ends.isoformat(),
        "createdBy": "dee",
        "comment": comment,
    }
    sent = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v2/silences", json.dumps(body).encode(), sent, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["silenceID"])


def unsilence(url: str, id: str) -> None:
    """Ends one."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/api/v2/silence/{id}", method="DELETE"), timeout=10).close()


def adapter(url: str, *series: Watched, alertmanager: str = "", timeout: float = 5.0, **monitor: Any) -> Prometheus:
    """The real one, with one target "prom"."""
    there = Monitor("prom", {s.name: s for s in series}, told=bool(alertmanager), **monitor)
    return Prometheus([PrometheusTarget(there, HttpTarget(url, timeout=timeout), alertmanager)])


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits for something that takes effect by and by."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


async def comes(look: Callable[[], Awaitable[object]], seconds: float = 20.0) -> None:
    """The same of what is asked for by a coroutine."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _started(arguments: list[str], ready: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(ready, timeout=1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                said = process.communicate()[1].decode(errors="replace")
                raise AssertionError(f"{arguments[0]} did not start: {said}") from None
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
