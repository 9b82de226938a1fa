"""The expressions of admission policies, compiled and run by Google's own CEL runtime.

Invariants: an expression that names a variable or function which is not here, a field of `request` that there is not,
or that yields another type than it must, is refused when the policy is written, never at a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
REQUEST_FIELDS = frozenset(
    [
        "dryRun",
        "kind",
        "name",
        "namespace",
        "operation",
        "options",
        "requestKind",
        "requestResource",
        "requestSubResource",
        "resource",
        "subResource",
        "uid",
        "userInfo",
    ]
)
USER_FIELDS = frozenset(["extra", "groups", "uid", "username"])

_ENV = cel.NewEnv(
    variables=dict.fromkeys(VARIABLES, cel.Type.DYN),
    extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
)
_PATH = re.compile(r"\brequest\.(\w+)(?:\.(\w+))?")
_STRINGS = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")


class CompileError(ValueError):
    """It cannot be an expression here; the text is the compiler's."""


class EvaluationError(Exception):
    """It has no value for this request."""


class Expression:
    """One compiled expression. CompileError."""

    def __init__(self, text: str, result: cel.Type, variables: frozenset[str]) -> None:
        self.text = text.strip()
        self._refuse_unknown(variables)
        try:
            self._program = _ENV.compile(text)
        except RuntimeError as error:
            told = str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
            raise CompileError(f"compilation failed: {told}") from error
        kind = self._program.return_type()
        if kind not in (result, cel.Type.DYN) and result != cel.Type.DYN:
            raise CompileError(f"must evaluate to {result.name().lower()}")
        self._result = result

    def value(self, data: Mapping[str, Any]) -> Any:
        """What it yields for these variables. EvaluationError."""
        found = self._program.eval(data=dict(data))
        if found.type() == cel.Type.ERROR:
            raise EvaluationError(_worded(str(found.value())))
        if self._result != cel.Type.DYN and found.type() != self._result:
            raise EvaluationError(f"must evaluate to {self._result.name().lower()}")
        return found.plain_value()

    def _refuse_unknown(self, variables: frozenset[str]) -> None:
        code = _STRINGS.sub('""', self.text)
        for match in _PATH.finditer(code):
            if match[1] not in REQUEST_FIELDS:
                raise CompileError(_undefined(match[1]))
            if match[1] == "userInfo" and match[2] and match[2] not in USER_FIELDS:
                raise CompileError(_undefined(match[2]))
        for name in re.findall(r"\bvariables\.(\w+)", code):
            if name not in variables:
                raise CompileError(_undefined(name))


def _undefined(field: str) -> str:
    return f"compilation failed: ERROR: <input>: undefined field '{field}'"


def _worded(told: str) -> str:
    """The runtime's errors in the words of the one upstream."""
    missing = re.search(r'Key not found in map : "([^"]*)"', told)
    return f"no such key: {missing[1]}" if missing else told.partition(": ")[2] or told


def condition(text: str, variables: frozenset[str] = frozenset()) -> Expression:
    """An expression that yields true or false."""
    return Expression(text, cel.Type.BOOL, variables)


def message(text: str, variables: frozenset[str] = frozenset()) -> Expression:
    """An expression that yields a string."""
    return Expression(text, cel.Type.STRING, variables)


def anything(text: str, variables: frozenset[str] = frozenset()) -> Expression:
    """An expression of any type: a variable."""
    return Expression(text, cel.Type.DYN, variables)
