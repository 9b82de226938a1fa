"""Cases from the field: small inputs made from what people reported, each with its right outcome in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def case(name: str) -> list[dict[str, Any]]:
    """The objects of a case, in the order of its file."""
    text = (Path(__file__).parent / "cases" / "kubernetes" / f"{name}.yaml").read_text()
    return [body for body in yaml.safe_load_all(text) if body]
