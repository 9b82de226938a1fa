"""What secrets look like: by their own letters, by the name before them, by the words around them. Pure.

Each net is asked with plain finds first, which are a hundred times cheaper than a pattern:
- a vendor's form begins with letters of its own ("ghp_") and goes on as that vendor makes it;
- a name says secret ("DB_PASSWORD", "apiKey"), and what follows says that this is its value ("=", ": ", "--x y");
- a frame is what only ever stands around a secret ("scheme://user:…@", "curl -u user:…").

Invariants:
- what was redacted before, a variable, a template, a path and a reference to a secret are none;
- the time is linear in the text: repetitions are bounded, or what they run over is used up.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple


class SecretSpan(NamedTuple):
    """A secret in a text: where, and of which kind."""

    start: int
    end: int
    kind: str


def spans(text: str, more: Iterable[SecretSpan] = ()) -> list[SecretSpan]:
    """The secrets of a text, and `more`, in order; those that overlap are one, of the kind of the first."""
    lower = _lower(text)
    apart: list[SecretSpan] = []
    every = (*more, *_framed(text, lower), *_formed(text), *_named(text, lower), *_unknown(text))
    for s in sorted(every, key=lambda s: (s.start, -s.end)):
        if apart and s.start < apart[-1].end:
            apart[-1] = apart[-1]._replace(end=max(apart[-1].end, s.end))
        else:
            apart.append(s)
    return apart


def of_name(name: str, value: str) -> str | None:
    """The kind of secret that the value of this name is, by its name; None where it is none, or a reference to one."""
    kind = _says(name)
    if kind is None or _REFERENCE.match(value) or (kind in _VAGUE and not random(value)):
        return None
    return kind if _counts(name, kind, value) else None


def random(text: str) -> bool:
    """Whether no person would have written it: long, and ever another kind of character."""
    if _WRITTEN.match(text):
        return False
    plain = "".join(_ALNUM.findall(text))
    return len(plain) >= 12 and len(_RUNS.findall(plain)) >= max(4, len(plain) * 0.24)


_ALNUM = re.compile(r"[A-Za-z0-9]+")
_RUNS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_WRITTEN = re.compile(  # names in Kubernetes, moments, digests, versions
    r"[a-z]{3,30}(?:-[a-z0-9.]+)+$|\d{4}-\d\d-\d\d|sha\d{1,3}[:-]|v?\d+(?:\.\d+)+|[\w-]+(?:\.[\w-]+)*/[\w./:@-]+$"
)


def _lower(text: str) -> str:
    """In lower case, character by character."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if c.isascii() else c for c in text)


def _at(hint: str, text: str) -> Iterator[int]:
    at = text.find(hint)
    while at >= 0:
        yield at
        at = text.find(hint, at + len(hint))


# -- forms of vendors ------------------------------------------------------------------------------------------------


class SecretForm(NamedTuple):
    """What vendors begin their secrets with. rest: a pattern of what follows; mixed: it is random as well."""

    kind: str
    begins: tuple[str, ...]
    rest: re.Pattern[str]
    mixed: bool = False


def _form(kind: str, begins: str, rest: str, *, mixed: bool = False) -> SecretForm:
    return SecretForm(kind, tuple(begins.split()), re.compile(rest), mixed)


_MORE = r"[A-Za-z0-9_-]"
_ALONG = re.compile(rf"{_MORE}+")
FORMS = (
    _form("rollback-token", "rbt_ rbk_", rf"{_MORE}{{20,}}"),
    _form("slack-token", "xoxa- xoxb- xoxc- xoxd- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs- xapp- xwfp-",
          r"[A-Za-z0-9][A-Za-z0-9.%-]{7,}"),
    _form("aws-key", "AKIA ASIA ABIA ACCA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _form("aws-key", "ABSK k8s-aws-v1.", r"[A-Za-z0-9+/=_-]{40,}"),
    _form("github-token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"[A-Za-z0-9_]{20,}"),
    _form("gitlab-token", "glpat- gloas- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- glsoat- glffct- glwt- "
          "GR1348941", rf"{_MORE}{{16,}}(?:\.[A-Za-z0-9_-]+)*"),
    _form("jwt", "eyJ", rf"{_MORE}{{6,}}(?:\.{_MORE}*){{2,4}}"),
    _form("token", "npm_", r"[A-Za-z0-9]{36}"),
    _form("token", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_ shippo_live_ duffel_live_", r"[A-Za-z0-9+/=]{16,}"),
    _form("token", "AIza", rf"{_MORE}{{35}}"),
    _form("token", "GOCSPX- ya29. dckr_pat_ dckr_oat_ hvs. hvb. hvr. pypi-AgE sk-ant- sk-proj- sk-or- sk-svcacct- "
          "sk-admin- glsa_ glc_ sntrys_ sntryu_ tskey- pscale_tkn_ pscale_pw_ pscale_oauth_ sb_secret_ ATATT3 ATCTT3 "
          "PMAK- dp.pt. dp.st. dp.ct. dp.sa. sha256~ CFPAT- ops_eyJ FlyV1 fo1_", r"[A-Za-z0-9_.=+/-]{20,}"),
    _form("token", "SG.", rf"{_MORE}{{22}}\.{_MORE}{{43}}"),
    _form("token", "dop_v1_ doo_v1_ dor_v1_", r"[a-f0-9]{64}"),
    _form("token", "shpat_ shpca_ shppa_ shpss_ dapi SK key- sbp_ cio", r"[a-f0-9]{32,}(?![A-Za-z0-9])"),
    _form("token", "dt0c01. dt0s01.", r"[A-Z0-9]{24}\.[A-Z0-9]{20,}"),
    _form("token", "AGE-SECRET-KEY-1", r"[A-Z0-9]{40,}"),
    _form("token", "1//0", rf"{_MORE}{{30,}}"),
    _form("token", "sk.eyJ", rf"{_MORE}{{20,}}\.{_MORE}{{10,}}"),
    _form("token", "sdk- mob- pat-na1- pat-eu1- HRKU- v1.0- api-",
          r"[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}"),
    _form("token", "v1.0-", r"[a-f0-9]{24}-[a-f0-9]{100,}"),
    _form("token", "FLWSECK- FLWSECK_TEST-", r"[A-Za-z0-9]{12,}(?:-X)?"),
    _form("token", "AKCp cmVmdGtu EAAA EAAC EAAG gAAAAA patxv1 oy2 LTAI AKID AQVN",
          r"[A-Za-z0-9+/=_-]{16,}", mixed=True),
    _form("token", "sq0atp- sq0csp- NRAK- NRJS- NRII- lin_api_ lin_oauth_ ntn_ figd_ figo_ ATBB nfp_ pul- rubygems_ "
          "sqp_ squ_ sqa_ bkua_ CCIPAT_ CCIPRJ_ hf_ gsk_ xai- pplx- r8_ nvapi- tfp_ rdme_ pnu_ EZAK EZTK p8e- pdus+_ "
          "secret_ vcp_ sk- pk- live_ pat_ pat- github_ key_ phx_ phc_ re_ sgp_ tok_ cfut_ cfat_ cfk_",
          r"[A-Za-z0-9_.=+/-]{16,}", mixed=True),
)  # fmt: skip
"""Ordered: the first that fits gives the kind."""


_BEGINS = tuple((begin, form) for form in FORMS for begin in form.begins)


def _formed(text: str) -> Iterator[SecretSpan]:
    for begin, form in _BEGINS:
        if begin in text:
            yield from _of_form(text, begin, form)


def _of_form(text: str, begin: str, form: SecretForm) -> Iterator[SecretSpan]:
    done = 0
    for at in _at(begin, text):
        if at < done or (at and (text[at - 1].isalnum() or text[at - 1] == "_")):
            continue
        m = form.rest.match(text, at + len(begin))
        run = m or _ALONG.match(text, at)
        done = run.end() if run else at  # of what is none as well: nothing is run over twice
        if m is not None and (not form.mixed or random(m[0])):
            yield SecretSpan(at, done, form.kind)


_RUN = re.compile(r"[A-Za-z0-9_-]{28,}")
_LIKE_A_VENDORS = re.compile(
    r"[A-Za-z]{2,12}(?:_[a-z]{2,8})?[_-](?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[a-z])[A-Za-z0-9]{24,}$"
)


def _unknown(text: str) -> Iterator[SecretSpan]:
    """What is made like the tokens of most vendors: a word, then many random characters."""
    for m in _RUN.finditer(text):
        if _LIKE_A_VENDORS.match(m[0]) and random(m[0]) and re.search(r"\d", m[0]):
            yield SecretSpan(m.start(), m.end(), "token")


# -- names that say secret -------------------------------------------------------------------------------------------

_SAYS = re.compile(
    r"""(?ix)
    (?P<kind>
      passw(?:or)?d s? | passwort | kennwort | passe | pass[ ]?phrase | passcode | pwd | pepper | psk | hmac
      | secrets? | tokens? | credentials? | creds
      | (?:api|access|secret|private|routing|integration|signing|encryption|account|master|shared|licen[sc]e
         |subscription|application|app|session|deploy|ssh|webhook|function|functions|client|admin|auth|jwt|hmac|storage
         |service[_-]?role|ingest|write|pager|master) [ ._-]? key
      | signature | jwt | bearer | session (?:[_-]?id)?
      | saml(?:response|request) | masterauth | requirepass
      | (?: (?<![a-z]) | (?-i:(?<=[a-z0-9])(?=[A-Z])) | (?:user|db|root|admin|proxy|smtp|ftp|key|store|trust)_? )
        (?:pass|pw|sig|auth)
    )
    (?: [_-]? (?: base | data | value | b64 | base64 | plaintext | string | hash ) )? (?: _?\d{1,2} )? $"""
)
_HINTS = ("pass", "pwd", "pw", "secret", "token", "cred", "key", "sig", "jwt", "bearer", "session", "saml", "auth",
          "kennwort", "pepper", "psk", "hmac", "phrase")  # fmt: skip
_VAGUE = frozenset({"credential", "credentials", "creds", "signature", "jwt", "bearer", "session", "session-id",
                    "samlresponse", "samlrequest", "sig", "auth", "pepper", "psk", "hmac", "key"})  # fmt: skip
"""Kinds whose value is one only where it is random."""
_NAMES_ONE = re.compile(
    r"(?i)(?:next|page|prev|continu\w*|sync|cursor|existing|pull|tls|image)[_-]?(?:page|pull|tls)?[_-]?(?:token|secret)s?$"
    r"|(?:^|[_.-])(?:max|min|num|n|total|prompt|completion|input|output)[_-]?tokens?$|public[_-]?key"
)
"""Names of secrets, of pages and of numbers: their values are secret only where they look it."""
_HEX = re.compile(r"(?:[a-f0-9]{40}|[a-f0-9]{64})$")
"""A digest: Helm writes that of a Secret beside the word (`checksum/secret`)."""
_AN_OBJECT = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$")
"""What a Secret in Kubernetes may be called."""
_NAME = "".join(map(chr, (*range(48, 58), *range(65, 91), *range(97, 123)))) + "_.-"
_TWO_WORDS = re.compile(r"[A-Za-z]{2,20} [A-Za-z]{2,8}$")
_REST = re.compile(r"[A-Za-z0-9_-]{0,24}")

_QUOTED = (
    r"\"{3}(?P<triple>[^\"\n]+)|\\+\"(?P<escaped>[^\"\\\n]+)"
    r"|\"(?P<double>(?:[^\"\\\n]|\\.)+)|'(?P<single>[^'\n]+)|`(?P<back>[^`\n]+)"
)
_BARE = r"(?P<bare>(?:[^\s\"'`,;&)}\]\\]|\\(?![\"']))+)"
_CLOSE = r"(?:\\*[\"'`])?\]?"
_NEXT = re.compile(
    rf"""(?ix)
    (?: (?P<sign> {_CLOSE} \s{{0,3}} (?: :=|=>|={{1,3}}|->|%3D|%22%3A(?:%20)?%22 ) \s{{0,3}} )
      | (?P<colon> {_CLOSE} \s{{0,3}} : \s{{0,3}} (?: [|>][+-]?\ *\n\s{{1,20}} )? )
      | (?P<pair> (?:\\*[\"'])? ,? \s{{0,40}} (?:\\*[\"'])? \b value (?:\\*[\"'])? \s{{0,3}} [:=] \s{{0,3}} )
      | (?P<words> \s{{1,3}} (?:is|was|to|of|for\s[^\s=]{{1,64}}\s=)? \s{{0,3}} )
      | (?P<call> \s? \( \s? )
    )
    (?: {_QUOTED} | {_BARE} )"""
)
_XML = re.compile(r"\s{0,3}>(?:<!\[CDATA\[)?(?P<value>[^<>\n\]]+)(?:\]\]>)?</")
_EMPTY = re.compile(
    r"""(?ix)
    \[redacted: | \$\{ | \$\( | (?-i:\$[A-Z_][A-Z0-9_]+\b) | \$\w+$ | \{\{ | \{[a-z_.]+\}?$
    | %[({]? \w+ [)}]? [sd%]?$ | < | \*{2,}
    | (?:null|none|nil|true|false|undefined|redacted|hidden|masked|empty|unset|x{3,}|\.{3}|…|-)$
    | (?:~|\.{0,2}) (?:/[a-z0-9_.-]+){2,} /?$ | \.{1,2}/
    | (?:var|local|data|module|env|process|os|config|settings|secrets|self|this|args|opts|params|request|values)[.\[]
    | (?:password|token|secret|value|key|str|string|bytes|int|bool|required|optional|missing|expired|invalid)[,;.]?$
    | @Microsoft\.KeyVault | op:// | ref\+ | vault: | arn:aws: | ENC\[ | sha\d{1,3}:
    | [\w-]{0,12}(?:\.{3}|…)$ | [\[({]+$
    | (?-i:[A-Z][A-Z0-9]{0,20}(?:_[A-Z0-9]{1,20}){1,6}$) | (?-i:[A-Za-z_][\w.]{0,60}\()"""
)
"""Values that are none: redacted before, variables, templates, files, references, calls."""
_IN_CODE = re.compile(r"[a-z_]+(?:\.[a-z_]+)+$")
_REFERENCE = re.compile(
    r"(?i)(?:arn|ssm|secret|secretsmanager|vault|sha256|env|file|kubernetes|https?)[:/]|/|\$\{|\[redacted:"
    r"|[\w./-]*[@#]v?\d+$|v?\d+$|$"
)
_JUDGED = 512
"""Characters above which a value counts without being looked at: so no text is looked at again and again."""


@lru_cache(maxsize=4096)
def _says(name: str) -> str | None:
    """The kind of secret that a name says its value is."""
    m = _SAYS.search(name)
    return _slug(m["kind"]) if m is not None else None


def _named(text: str, lower: str) -> Iterator[SecretSpan]:
    seen = -1
    ends: set[int] = set()
    for hint in (h for h in _HINTS if h in lower):
        ends |= {_REST.match(text, at + len(hint)).end() for at in _at(hint, lower)}  # type: ignore[union-attr]
    for end in sorted(ends):
        if end <= seen:
            continue
        before = text[max(0, end - 64) : end]
        name = before[len(before.rstrip(_NAME)) :]
        if name.lower() in ("key", "phrase"):  # "API key"
            name = (_TWO_WORDS.search(before) or [name])[0]
        kind = _says(name.rstrip("-_."))
        if kind is None:
            continue
        if (found := _value(text, end, name, kind)) is not None:
            seen = found.end
            yield found


def _value(text: str, end: int, name: str, kind: str) -> SecretSpan | None:
    """The secret that follows a name which ends there."""
    if text.startswith(">", end) and (x := _XML.match(text, end)) is not None:
        return SecretSpan(*x.span("value"), kind) if _counts(name, kind, x["value"]) else None
    m = _NEXT.match(text, end)
    if m is None or m.lastgroup is None:
        return None
    value = m[m.lastgroup]
    if len(value) <= _JUDGED and not (_counts(name, kind, value) and _meant(m, name, kind, value)):
        return None
    return SecretSpan(*m.span(m.lastgroup), kind)


def _counts(name: str, kind: str, value: str) -> bool:
    """Whether a value of this name is a secret, whatever stands between them."""
    if _EMPTY.match(value) or (kind in _VAGUE and not random(value)):
        return False
    if _NAMES_ONE.search(name):
        return random(value) and not value.isdigit()
    if _IN_CODE.match(value):
        return kind.startswith("passw")
    if name.lower().rpartition(".")[2] == "secret" and _AN_OBJECT.match(value):
        return random(value) and not _HEX.match(value)
    return not value.isdigit() or (kind.startswith(("pass", "pwd", "pw")) and len(value) > 3)


def _meant(m: re.Match[str], name: str, kind: str, value: str) -> bool:
    """Whether what stands between name and value says that it is its value."""
    quoted = m.lastgroup != "bare"
    mixed = bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value)) and len(value) > 5
    word = kind.startswith("pass") or kind in ("pwd", "pw", "kennwort", "requirepass", "masterauth")
    if m["sign"] is not None or m["pair"] is not None:
        return True
    if m["colon"] is not None:
        plain = word and len(value) > 3 and (kind != "pass" or mixed)
        return quoted or plain or random(value) or name[:2].lower() == "x-"
    if m["call"] is not None:
        return word and m["single"] is not None
    if random(value) and len(value) > 15:
        return kind not in ("session", "session-id")
    if name.startswith("-"):
        return not value.startswith("-")
    if quoted:
        return word
    return kind in ("requirepass", "masterauth") or (word and mixed and not _WRITTEN.match(value))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z]+", "-", name.lower()).strip("-")


# -- frames ----------------------------------------------------------------------------------------------------------


class Net(NamedTuple):
    """What stands around secrets of one kind. pattern: `value` is what goes; hints: lower-case strings of which one
    must be there; when: whether a value that was caught is one."""

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]
    when: Callable[[str], bool] = lambda value: True


def _net(kind: str, pattern: str, *hints: str, when: Callable[[str], bool] = lambda value: True) -> Net:
    return Net(kind, re.compile(pattern), hints, when)


_LABELS = r"(?:[A-Z0-9]{1,20} ){0,4}"
_SCHEME = r"(?:Basic|Bearer|Token|Digest|Negotiate|NTLM|ApiKey|GenieKey|SSWS|Splunk|AWS4-HMAC-SHA256|OAuth|Hawk|Key)"
_PEMS = tuple(
    base64.b64encode(f"-----BEGIN {label}PRIVATE KEY"[:size].encode()).decode()
    for label, size in (("", 21), ("RSA ", 24), ("EC ", 24), ("DSA ", 24), ("OPENSSH ", 24), ("ENCRYPTED ", 24))
)
"""How the Base64 of a private key begins."""
_OPTION = r"(?P<value>\"[^\"\n]+\"|'[^'\n]+'|[^\s\"'|;]+)"


def _full(value: str) -> bool:
    return not _EMPTY.match(value.strip("\"'"))


NETS = (
    _net("private-key",
         rf"(?P<value>-----BEGIN {_LABELS}PRIVATE KEY(?: BLOCK)?-----"
         rf"(?:[\s\S]*?-----END {_LABELS}PRIVATE KEY(?: BLOCK)?-----|[\s\S]*))", "private key"),
    _net("private-key", r"Private-Lines: (?P<value>\d+\n[A-Za-z0-9+/=\n]+)", "private-lines:"),
    _net("private-key", rf"(?P<value>(?:{'|'.join(map(re.escape, _PEMS))})[A-Za-z0-9+/=]*)",
         *(p.lower() for p in _PEMS)),
    _net("private-key", r"\"d\"\s{0,3}:\s{0,3}\"(?P<value>[A-Za-z0-9_-]{40,})\"", '"d"'),
    _net("slack-webhook", r"(?P<value>https://hooks\.slack(?:-gov)?\.com/[A-Za-z0-9/_-]+)", "hooks.slack"),
    _net("webhook", r"(?P<value>https://(?:[a-z]{1,20}\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]+)",
         "/api/webhooks/"),
    _net("webhook", r"(?P<value>https://[\w-]{1,60}\.webhook\.office\.com/[\w@/-]+)", ".webhook.office"),
    _net("webhook", r"(?P<value>https://hooks\.zapier\.com/[\w/-]+)", "hooks.zapier"),
    _net("userinfo", r"(?<=://)(?P<value>[^\s/@:\"'<>]*:[^\s/\"'<>]+|[A-Za-z0-9_.~-]{20,})@(?=[^\s@])", "://"),
    _net("userinfo", r"jdbc:oracle:[a-z]{1,10}:(?P<value>[^\s/@]{1,64}/[^\s/@\"']+)@", "jdbc:oracle"),
    _net("authorization",
         rf"(?i:authorization[\\\"'\]]{{0,3}}\s{{0,3}}[:=]\s{{0,3}}[\\\"'\[]{{0,3}})"
         rf"(?!\[redacted:)(?P<value>(?i:{_SCHEME})(?: |%20)(?![$<{{])[^\"'\\\]\r\n]+)", "authorization"),
    _net("authorization",
         r"(?i:authorization[\\\"'\]]{0,3}\s{0,3}[:=]\s{0,3}[\\\"'\[]{0,3})(?P<value>[A-Za-z0-9._~+/=-]{12,})",
         "authorization", when=random),
    _net("authorization", r"(?<![A-Za-z])(?:Basic|Bearer) (?P<value>[A-Za-z0-9+/_-]{16,}={0,2})", "basic ", "bearer ",
         when=random),
    _net("bearer", r"(?i:\bbearer\s{1,3})(?=[^\s\"',;]{0,200}\d)(?P<value>[A-Za-z0-9._~+/-]{12,}=*)", "bearer"),
    _net("cookie", r"(?i:(?<![A-Za-z])cookie[\"']?\s{0,3}[:=]\s{0,3}[\"']?)(?=[\w.-]{1,64}=)(?P<value>[^\"'\r\n]+)",
         "cookie"),
    _net("literal", rf"--from-literal[= ][\"']?[^\s=\"']{{1,100}}={_OPTION}", "--from-literal", when=_full),
    _net("password",
         r"(?<!\S)(?:-u|--user|--proxy-user|-U)[ =]?[\"']?[^\s:\"']{1,64}:(?!\d+(?!\S))(?P<value>[^\s\"']+)",
         "-u", "--user", "--proxy-user", when=_full),
    _net("password", r"(?<!\S)-U[ =]?[\"']?[^\s%\"']{1,64}%(?P<value>[^\s\"']+)", "-u", when=_full),
    _net("password", rf"\b(?:mysql|mariadb)[a-z_]{{0,10}}\b[^\n|;&]{{0,200}}?\s-p{_OPTION}",
         "mysql", "mariadb", when=_full),
    _net("password",
         rf"\b(?:sshpass|(?:docker|podman|buildah|helm registry|az|oc|oras|skopeo) login|mongo[a-z]{{0,8}})\b"
         rf"[^\n|;&]{{0,200}}?\s-p[ =]?{_OPTION}", "sshpass", " login", "mongo", when=_full),
    _net("password", rf"\bredis-cli\b[^\n|;&]{{0,200}}?\s-a[ =]?{_OPTION}", "redis-cli", when=_full),
    _net("password", rf"\bldap[a-z]{{1,10}}\b[^\n|;&]{{0,200}}?\s-w[ =]?{_OPTION}", "ldap", when=_full),
    _net("password", rf"\bsqlcmd\b[^\n|;&]{{0,200}}?\s-P[ =]?{_OPTION}", "sqlcmd", when=_full),
    _net("password", r"(?<![\w-])pass:(?P<value>[^\s\"']{4,})", "pass:", when=_full),
    _net("password", r"(?i:\bidentified\s{1,3}by\s{1,3})(?P<value>\"[^\"\n]+\"|'[^'\n]+')", "identified", when=_full),
    _net("password",
         r"(?m)(?<![\w:/.-])[\w.*-]{1,128}:(?:\d{4,5}|\*):[\w*-]{1,64}:[\w.@-]{1,64}:(?P<value>[^\s:]{4,})$",
         ":5432:", ":5433:", ":6432:", ":6543:", ":26257:", ":*:", when=_full),
    _net("password-hash", r"(?P<value>\$(?:2[abxy]|apr1|1|5|6|7|y|gy|argon2(?:id|i|d)|scrypt|pbkdf2[\w-]{0,12})\$"
         r"[./A-Za-z0-9$=,+-]{20,})",
         "$2", "$apr1$", "$1$", "$5$", "$6$", "$7$", "$y$", "$gy$", "$argon2", "$scrypt$", "$pbkdf2"),
    _net("password-hash", r"(?P<value>\b(?:pbkdf2_sha\d{1,3}|bcrypt_sha256|scrypt|argon2)\$[\w$./+=,-]{20,})",
         "pbkdf2_sha", "bcrypt_sha", "scrypt$", "argon2$"),
    _net("password-hash", r"(?P<value>\{S?(?:SHA|MD5|CRYPT|SSHA\d{0,3})\d{0,3}\}[A-Za-z0-9+/=$.]{16,})",
         "sha}", "sha256}", "sha512}", "md5}", "crypt}"),
    _net("password",
         r"(?<![\w.-])[\w.-]{1,64}:(?P<value>[^\s@\"'/]{1,200})@(?:tcp|udp|unix)\(", "@tcp(", "@udp(", "@unix("),
    _net("password", rf"\becho (?:-n )?{_OPTION} ?\|[^\n]{{0,200}}--password-stdin", "--password-stdin", when=_full),
    _net("token", r"(?<![0-9])(?P<value>\d{8,10}:AA[A-Za-z0-9_-]{33})", ":aa"),
    _net("token", r"(?<![A-Za-z0-9])(?P<value>[a-f0-9]{32}-us\d{1,2})(?![A-Za-z0-9])", "-us"),
    _net("token", r"(?<![A-Za-z0-9])(?P<value>[a-f0-9]{36,40}NRAL)", "nral"),
    _net("token",
         rf"(?<![A-Za-z0-9._-])(?P<value>[MNO]{_MORE}{{22,27}}\.{_MORE}{{6}}\.{_MORE}{{27,40}})(?![A-Za-z0-9._-])",
         "."),
    _net("token", r"(?<![A-Za-z0-9])(?P<value>[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{40,})", ".atlasv1."),
    _net("token", r"(?<![A-Za-z0-9])(?P<value>[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34})", "q~"),
    _net("auth", r"(?i:\"auth\"\s{0,3}:\s{0,3}\")(?P<value>[A-Za-z0-9+/]{8,}={0,2})\"", '"auth"'),
)  # fmt: skip
"""In this order, and after what is known."""


_HINTED = tuple((hint, i) for i, net in enumerate(NETS) for hint in net.hints)


def _framed(text: str, lower: str) -> Iterator[SecretSpan]:
    for i in sorted({i for hint, i in _HINTED if hint in lower}):
        net = NETS[i]
        for m in net.pattern.finditer(text):
            start, end = m.span("value")
            if text[start] in "\"'" and end - start > 2 and text[end - 1] == text[start]:
                start, end = start + 1, end - 1
            if net.when(text[start:end]):
                yield SecretSpan(start, end, net.kind)
