"""`frontend manifest`: what CI writes beside a build, and registers a release with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import root
from bot.ports.builds import FOR_EVER, MANIFEST, NEVER, Build, Manifest, digest_of


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["frontend", "manifest", *words])


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    files = {
        "index.html": b"1", "docs/index.html": b"2", "about.html": b"3", "sw.js": b"4", "config.json": b"{}",
        "assets/app-BwZ1aX3c.js": b"5", "assets/app-BwZ1aX3c.js.br": b"6", "assets/caf\u00e9 +%.woff2": b"7",
        "logo.png": b"8",
    }  # fmt: skip
    for name, data in files.items():
        path = tmp_path / "dist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "dist"


def test_it_says_what_to_register_and_writes_what_that_names(dist: Path) -> None:
    done = run(str(dist), "--prefix", "builds/2.4.0/", "--worker", "sw.js", "--config", "config.json", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    text = (dist / MANIFEST).read_bytes()
    assert Build.of(said["build"]) == Build("builds/2.4.0", digest_of(text))
    m = Manifest.load(text)
    assert m.fronts == ("config.json", "sw.js", "about.html", "docs/index.html", "index.html")
    assert m.files["assets/app-BwZ1aX3c.js"].headers.cache == FOR_EVER
    assert m.files["sw.js"].headers.cache == NEVER
    assert m.files["index.html"].headers.cache == m.files["logo.png"].headers.cache == "no-cache"
    assert m.files["assets/caf\u00e9 +%.woff2"].headers.type == "font/woff2"
    assert MANIFEST not in m.files


def test_the_same_folder_gives_the_same_digest(dist: Path) -> None:
    digests = {run(str(dist), "--prefix", "b").output.split("--frontend ")[1] for _ in range(2)}
    assert len(digests) == 1


def test_people_say_what_is_packed_what_never_changes_and_what_is_opened(dist: Path) -> None:
    done = run(str(dist), "--encoding", "*.br=br", "--immutable", "logo.*", "--entry", "docs/index.html")
    assert done.exit_code == 0, done.output
    m = Manifest.load((dist / MANIFEST).read_bytes())
    assert m.entries == ("docs/index.html",)
    assert m.files["assets/app-BwZ1aX3c.js.br"].headers.encoding == "br"
    assert m.files["logo.png"].immutable


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--entry", "start.html"], "has no start.html"),
        (["--worker", "nosuch.js"], "has no nosuch.js"),
        (["--encoding", "br"], "write PATTERN=br or PATTERN=gzip"),
        (["--worker", "index.html"], "'index.html' is named twice"),
    ],
)
def test_what_does_not_fit_is_told(dist: Path, words: list[str], why: str) -> None:
    done = run(str(dist), *words)
    assert done.exit_code == 2 and why in done.output
    assert not (dist / MANIFEST).exists()


def test_a_folder_without_a_page_needs_an_entry(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_bytes(b"1")
    assert "name what people open: --entry FILE" in run(str(tmp_path)).output
