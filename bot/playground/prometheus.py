"""A Prometheus and an Alertmanager of one's own, on loopback, where Debian's packages are installed.

    with private_prometheus(folder, rules) as monitoring:      # LookupError where they are not: see `installed`
        monitoring.url, monitoring.alertmanager                # "http://127.0.0.1:9090", ...
        monitoring.scrape({"127.0.0.1:8080": {"job": "shop"}}) # who is asked from now on, about five seconds later

Invariants: it scrapes every second and evaluates rules every second; what it kept is gone afterwards; where the system
can it is killed when its maker dies.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bot.playground.child import running
from bot.playground.free_port import free_port

_PATIENCE = 30.0
"""Seconds that one may take to be ready on a busy machine."""


def installed() -> bool:
    """Whether both are: `apt-get install prometheus prometheus-alertmanager`."""
    return shutil.which("prometheus") is not None and shutil.which("prometheus-alertmanager") is not None


@dataclass(frozen=True)
class Monitoring:
    """url, alertmanager: where they answer; targets: the file that says whom to ask."""

    url: str
    alertmanager: str
    targets: Path

    def scrape(self, targets: Mapping[str, Mapping[str, str]]) -> None:
        """Whom to ask from now on: `host:port` -> labels of its series."""
        told = json.dumps([{"targets": [place], "labels": dict(labels)} for place, labels in sorted(targets.items())])
        if self.targets.exists() and self.targets.read_text() == told:
            return
        draft = self.targets.with_suffix(".new")
        draft.write_text(told)
        draft.replace(self.targets)


@contextlib.contextmanager
def private_prometheus(
    folder: Path, rules: Sequence[Mapping[str, object]] = (), history: str = ""
) -> Iterator[Monitoring]:
    """Both, ready. rules: of one group, as a rule file has them; history: what it has measured before, as OpenMetrics
    text with times. LookupError, RuntimeError with the end of its log."""
    if not installed():
        raise LookupError("Prometheus is not installed: apt-get install prometheus prometheus-alertmanager")
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        alerts = stack.enter_context(_alertmanager(folder))
        targets = folder / "targets.json"
        targets.write_text("[]")
        if history:
            _remember(folder, history)
        (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "shop", "rules": [*map(dict, rules)]}]}))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(_config(alerts, targets)))
        port = free_port()
        words = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                 f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]  # fmt: skip
        url = stack.enter_context(_running(["prometheus", *words], port, folder / "prometheus.log"))
        yield Monitoring(url, alerts, targets)


@contextlib.contextmanager
def _alertmanager(folder: Path) -> Iterator[str]:
    (folder / "alertmanager.yml").write_text(
        yaml.safe_dump({"route": {"receiver": "none"}, "receivers": [{"name": "none"}]})
    )
    port = free_port()
    words = [f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alerts", "--log.level=warn",
             f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]  # fmt: skip
    with _running(["prometheus-alertmanager", *words], port, folder / "alertmanager.log") as url:
        yield url


def _remember(folder: Path, history: str) -> None:
    """Blocks of what was measured before."""
    text = folder / "history.txt"
    text.write_text(history)
    words = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(folder / "tsdb")]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if found.returncode != 0:
        raise RuntimeError(f"promtool ended with {found.returncode}: {(found.stdout + found.stderr)[-2000:]}")


def _config(alerts: str, targets: Path) -> Mapping[str, object]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(targets.with_name("rules.yml"))],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerts.removeprefix("http://")]}]}]},
        "scrape_configs": [
            {"job_name": "shop", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}]}
        ],
    }


@contextlib.contextmanager
def _running(argv: Sequence[str], port: int, log: Path) -> Iterator[str]:
    with running(argv, log) as made:
        _wait(made, port, log)
        yield f"http://127.0.0.1:{port}"


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1.0) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.03)
    raise RuntimeError(f"it did not become ready on port {port}: {log.read_text(errors='replace')[-2000:]}")
