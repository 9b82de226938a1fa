"""Made-up secrets in the forms that they come in, and what only looks like them.

No secret stands here: each is put together from parts when the tests run, the same ones every time.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator
from uuid import UUID

_DICE = random.Random(20261128)
LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
HEX, B62 = "0123456789abcdef", LOWER + UPPER + DIGITS


def made(n: int, of: str = B62) -> str:
    """So many random characters of these."""
    return "".join(_DICE.choices(of, k=n))


def b64(n: int) -> str:
    """Base64 of so many random bytes."""
    return base64.b64encode(_DICE.randbytes(n)).decode()


def uuid() -> str:
    """A random one."""
    return str(UUID(bytes=_DICE.randbytes(16), version=4))


def plain() -> str:
    """What a person chose: no net knows it by itself."""
    return _DICE.choice(["Sommer", "correct-horse", "tr0ub4dor", "Geheim", "letmein"]) + made(4, DIGITS) + "!"


# -- secrets -----------------------------------------------------------------------------------------------------------


def by_looks() -> Iterator[str]:
    """Secrets that vendors give a form of its own."""
    yield from (f"rbt_{made(43)}", f"rbt_{made(20)}-{made(22)}", f"rbk_{made(43)}")
    yield from (f"xox{c}-{made(12, DIGITS)}-{made(12, DIGITS)}-{made(24)}" for c in "abprsoc")
    yield f"xoxe.xoxp-1-{made(60)}"
    yield f"xapp-1-A{made(10, UPPER + DIGITS)}-{made(13, DIGITS)}-{made(64, HEX)}"
    yield f"https://hooks.slack.com/{'services'}/T{made(8, UPPER + DIGITS)}/B{made(8, UPPER + DIGITS)}/{made(24)}"
    yield f"https://hooks.slack.com/{'workflows'}/T{made(8, UPPER)}/A{made(8, UPPER)}/{made(18, DIGITS)}/{made(24)}"
    yield from (f"{p}{made(16, UPPER + '234567')}" for p in ("AK" + "IA", "AS" + "IA"))
    yield from (f"gh{c}_{made(36)}" for c in "pousr")
    yield f"github_{'pat'}_{made(22)}_{made(59)}"
    yield from (f"gl{c}-{made(20)}" for c in ("pat", "dt", "rt", "ptt", "cbt", "soat"))
    yield f"GR1348{'941'}{made(20)}"
    yield ".".join((_json64({"alg": "HS256", "typ": "JWT"}), _json64({"sub": made(8)}), made(43)))
    yield ".".join(
        (_json64({"alg": "RS256", "kid": made(8)}), _json64({"iss": "kubernetes/serviceaccount"}), made(120))
    )
    yield from (f"{k}_{e}_{made(24)}" for k in ("sk", "rk") for e in ("live", "test"))
    yield f"whsec_{made(32)}"
    yield f"npm_{made(36)}"
    yield f"dckr_{'pat'}_{made(27)}"
    yield from (f"hv{c}.{made(90)}" for c in "sb")
    yield f"AI{'za'}{made(35)}"
    yield f"GOC{'SPX'}-{made(28)}"
    yield f"ya29.{made(60)}"
    yield f"1//0{made(60)}"
    yield f"pypi-AgE{'IcHlwaS5vcmc'}{made(120)}"
    yield f"SG.{made(22)}.{made(43)}"
    yield from (f"sk-{p}{made(48)}" for p in ("", "proj-", "ant-api03-", "or-v1-"))
    yield from (f"{p}{made(64, HEX)}" for p in ("dop_v1_", "doo_v1_"))
    yield from (f"shp{c}_{made(32, HEX)}" for c in ("at", "ss"))
    yield f"sq0{'atp'}-{made(22)}"
    yield f"SK{made(32, HEX)}"
    yield f"key-{made(32, HEX)}"
    yield f"{made(32, HEX)}-us12"
    yield f"{made(9, DIGITS)}:AA{made(33)}"
    yield f"M{made(23)}.{made(6)}.{made(30)}"
    yield f"https://discord.com/api/web{'hooks'}/{made(18, DIGITS)}/{made(68)}"
    yield f"https://acme.web{'hook'}.office.com/webhookb2/{uuid()}@{uuid()}/IncomingWebhook/{made(32, HEX)}/{uuid()}"
    yield f"NR{'AK'}-{made(27, UPPER + DIGITS)}"
    yield f"{made(36, HEX)}NR{'AL'}"
    yield f"gl{'sa'}_{made(32)}_{made(8, HEX)}"
    yield f"sn{'trys'}_{made(60)}"
    yield f"da{'pi'}{made(32, HEX)}"
    yield f"lin_{'api'}_{made(40)}"
    yield f"nt{'n_'}{made(46)}"
    yield f"fi{'gd_'}{made(40)}"
    yield f"AT{'ATT3'}xFfGF0{made(180)}"
    yield f"PM{'AK'}-{made(24, HEX)}-{made(34, HEX)}"
    yield f"dp.{'pt'}.{made(43)}"
    yield f"pscale_{'tkn'}_{made(43)}"
    yield f"sb{'p_'}{made(40, HEX)}"
    yield f"dt0{'c01'}.{made(24, UPPER + DIGITS)}.{made(64, UPPER + DIGITS)}"
    yield f"pu{'l-'}{made(40, HEX)}"
    yield f"ruby{'gems_'}{made(48, HEX)}"
    yield f"sq{'p_'}{made(40, HEX)}"
    yield f"CCI{'PAT'}_{made(22)}_{made(40, HEX)}"
    yield f"tskey-{'auth'}-{made(12)}CNTRL-{made(32)}"
    yield f"sha256~{made(43)}"
    yield f"h{'f_'}{made(34)}"
    yield f"gs{'k_'}{made(52)}"
    yield f"pat-{'na1'}-{uuid()}"
    yield f"sdk-{uuid()}"
    yield f"{made(14)}.atlasv1.{made(60)}"
    yield f"{made(3)}8Q~{made(34)}"
    yield f"AGE-SECRET-{'KEY'}-1{made(58, UPPER + DIGITS)}"
    yield f"EAAC{made(120)}"
    yield f"AKCp{made(69)}"
    yield f"gAAAAAB{made(90)}"
    yield f"k8s-aws-v1.{made(200)}"
    yield f"acme_{'live'}_{made(32)}"
    yield f"zz_{made(40)}"
    yield f"$2b${'12'}${made(53)}"
    yield f"$6$rounds=5000${made(12)}${made(86)}"
    yield f"$argon2id$v=19$m=65536,t=3,p=4${made(22)}${made(43)}"
    yield f"pbkdf2_sha256$600000${made(22)}${made(43)}="
    yield f"{{SSHA}}{b64(28)}"


def keys() -> Iterator[str]:
    """Private keys, as they are pasted."""
    for label in ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "):
        begin, end = (f"-----{w} {label}PRIVATE {'KEY'}-----" for w in ("BEGIN", "END"))
        body = "\n".join(b64(48) for _ in range(4))
        yield f"{begin}\n{body}\n{end}"
    yield json.dumps(f"-----BEGIN PRIVATE {'KEY'}-----\n{b64(48)}\n-----END PRIVATE {'KEY'}-----\n")[1:-1]
    yield f"-----BEGIN PGP PRIVATE {'KEY'} BLOCK-----\n\n{b64(60)}\n-----END PGP PRIVATE {'KEY'} BLOCK-----"
    yield base64.b64encode(f"-----BEGIN RSA PRIVATE {'KEY'}-----\n{b64(60)}\n".encode()).decode()
    yield base64.b64encode(f"-----BEGIN EC PRIVATE {'KEY'}-----\n{b64(60)}\n".encode()).decode()
    yield f"-----BEGIN RSA PRIVATE {'KEY'}-----\n{b64(48)}"  # the log was cut


FRAMES = (
    # assignments
    "DB_PASSWORD={}",
    "export API_TOKEN={}",
    "PGPASSWORD='{}' psql -h db",
    'SECRET_KEY_BASE="{}"',
    "db.password={}",
    "spring.datasource.password={}",
    "aws_secret_access_key = {}",
    "AWS_SESSION_TOKEN={}",
    "CLIENT_SECRET={}",
    "MYSQL_ROOT_PASSWORD={}",
    "REDIS_PASS={}",
    "smtp_pass = {}",
    "STRIPE_API_KEY={}",
    "ENCRYPTION_KEY={}",
    "JWT_SECRET={}",
    "SIGNING_KEY={}",
    "routing_key={}",
    "DD_API_KEY={}",
    "WEBHOOK_SECRET={}",
    "DB_PASSWORD_1={}",
    'private_key := "{}"',
    ":password => '{}'",
    "'password' => '{}',",
    "config.secretKey = '{}';",
    "password='{}', timeout=3)",
    "kubectl set env deploy/shop DB_PASSWORD={}",
    "helm upgrade shop --set db.password={}",
    "FOO_CREDENTIALS_PASSWORD={}",
    "dbPassword={}",
    "DbPwd={};",
    "adminPass={}",
    "sharedSecret={}",
    "AccountName=acme;AccountKey={};EndpointSuffix=core",
    "Server=db;User Id=bot;Password={};Encrypt=true",
    "Endpoint=sb://acme/;SharedAccessKeyName=root;SharedAccessKey={}",
    "host=db user=bot password={} dbname=shop",
    # structured
    '{{"password": "{}"}}',
    '{{"db_password":"{}","n":1}}',
    '{{"apiKey": "{}"}}',
    "{{'client_secret': '{}'}}",
    '{{\\"password\\":\\"{}\\"}}',
    '{{"name":"DB_PASSWORD","value":"{}"}}',
    '{{"name": "API_TOKEN", "value": "{}"}}',
    "- name: DB_PASSWORD\n  value: {}",
    "password: {}",
    "db_password: '{}'",
    "  adminPassword: {}",
    "password: |\n  {}",
    "<password>{}</password>",
    '<add key="DbPassword" value="{}" />',
    "<property name='password' value='{}'/>",
    "&{{User:bot Password:{} Host:db}}",
    "map[password:{} user:bot]",
    "password = '{}'",
    'secret = "{}"',
    "passphrase: {}",
    "Passwd: {}",
    "user=bot passwd={} ok",
    "DATABASE_PASSWORD : '{}'",
    # URLs
    "postgresql://bot:{}@db.internal:5432/shop",
    "redis://:{}@cache:6379/0",
    "amqp://shop:{}@mq/vhost",
    "mongodb+srv://bot:{}@cluster0.example/shop",
    "https://bot:{}@git.example/acme/shop.git",
    "mysql+pymysql://root:{}@127.0.0.1/shop",
    "jdbc:postgresql://db/shop?user=bot&password={}",
    "jdbc:oracle:thin:scott/{}@//db:1521/x",
    "GET /v1?user=1&token={}&page=2",
    "https://x.example/cb?access_token={}",
    "https://x.example/?api_key={}#top",
    "/login?password={} HTTP/1.1",
    "smtp://mailer:{}@mail.example:587",
    "q=%7B%22password%22%3A%22{}%22%7D",
    "body: user%3Dbot%26password%3D{}",
    # commands
    "mysql --password {} shop",
    "mysql -h db -u bot -p{} shop",
    "mysqldump -ubot -p'{}' shop",
    "sshpass -p {} ssh a@b",
    "curl -u bot:{} https://api",
    "curl --user 'bot:{}' https://api",
    "docker login -u bot -p {} r.example",
    "redis-cli -h cache -a {} ping",
    "kubectl create secret generic x --from-literal=k={}",
    "--api-key {} --region eu",
    "wget --password={} https://x",
    "openssl pkcs12 -passin pass:{} -in a",
    "ldapsearch -x -D cn=a -w {} -b dc=x",
    "mongosh -u bot -p {} shop",
    "helm registry login r.example -u bot -p {}",
    "smbclient -U bot%{} //a/b",
    "vault kv put kv/shop password={}",
    "rabbitmqctl change_password bot password={}",
    "requirepass {}",
    "machine git.example login bot password {}",
    "db.internal:5432:shop:bot:{}",
    "sqlcmd -S db -U sa -P {}",
    # SQL and prose
    "ALTER USER bot IDENTIFIED BY '{}'",
    "CREATE ROLE bot LOGIN PASSWORD '{}'",
    "ALTER ROLE bot ENCRYPTED PASSWORD '{}'",
    "SET PASSWORD FOR 'bot' = '{}'",
    'CREATE USER bot IDENTIFIED BY "{}"',
    "the password is {}",
    "password is `{}`",
    "my password: {}",
    "login with password {} works",
    'new password: "{}"',
)
"""Where whatever stands in it is a secret."""

RANDOM_FRAMES = (
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "-H 'Authorization: token {}'",
    '"Authorization":"Bearer {}"',
    "Authorization: {}",
    "map[Authorization:[Bearer {}]]",
    "Proxy-Authorization: Basic {}",
    "X-Api-Key: {}",
    "X-Auth-Token: {}",
    "PRIVATE-TOKEN: {}",
    "X-Vault-Token: {}",
    "DD-API-KEY: {}",
    "Cookie: session={}; theme=dark",
    "Set-Cookie: sid={}; HttpOnly",
    "token: {}",
    "api_key: {}",
    "  client-key-data: {}",
    "secretKey: {}",
    "kubeadm join --token {}",
    '"auth": "{}"',
    "//registry.npmjs.org/:_authToken={}",
    "//registry.npmjs.org/:_auth={}",
    "sig={}&sv=2024",
    "https://x.example/f?X-Amz-Signature={}",
    "with bearer {}",
    "ENV API_TOKEN {}",
    "SAMLResponse={}",
    "the token is {}",
    "https://{}@git.example/acme/shop.git",
    '"refresh_token":"{}"',
    "client_secret: {}",
    "Authorization: GenieKey {}",
    "session_id={}",
    "credentials: {}",
    "Ocp-Apim-Subscription-Key: {}",
)
"""Where a random value is one."""


def secrets() -> list[tuple[str, str]]:
    """(a text, the secret in it)."""
    around = ("login with {} failed", "{}", 'error: "{}"', "level=warn msg=x got={} ts=1", "a\n{}\nb")
    found = [(around[i % len(around)].format(s), s) for i, s in enumerate(by_looks())]
    found += [(f"key:\n{s}\n", s) for s in keys()]
    for frame in FRAMES:
        secret = plain()
        found.append((frame.format(secret), secret.rstrip("!") if "%3D" in frame else secret))
    for frame in RANDOM_FRAMES:
        secret = made(40)
        found.append((frame.format(secret), secret))
    return found


def _json64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


# -- what is none ------------------------------------------------------------------------------------------------------


def digest() -> str:
    """A digest."""
    return f"sha256:{made(64, HEX)}"


def innocents() -> list[str]:
    """Texts without a secret."""
    config = {"LOG_LEVEL": "info", "FEATURES": "checkout,search", "TIMEOUT": "30s", "motd": "Willkommen im Laden"}
    return [
        *(digest() for _ in range(5)),
        *(f"registry.example:5000/shop/{name}@{digest()}" for name in ("api", "worker", "web", "cron")),
        *(
            f"registry.example/shop/api:{v}"
            for v in ("2.4.0", "2.4.0-rc2", "main-9fceb02", "2026-11-28T04-17", "v1.2.3")
        ),
        *(f"eu-1/deployment/shop-{n}/image/api: {digest()} → {digest()}" for n in ("api", "worker")),
        *(uuid() for _ in range(5)),
        *(f"request {uuid()} took {n} ms" for n in (12, 340)),
        *(made(40, HEX) for _ in range(5)),
        *(f"commit {made(40, HEX)} (HEAD -> main)" for _ in range(2)),
        *(f"shop-{made(6, HEX)} is open" for _ in range(5)),
        *(f"run shop-{made(6, HEX)}/deploy/{n}" for n in (1, 2)),
        *(f"pod/shop-api-{made(9, LOWER + DIGITS)}-{made(5, LOWER + DIGITS)} 0/1 CrashLoopBackOff" for _ in range(5)),
        *(f'"{k}": "{base64.b64encode(v.encode()).decode()}"' for k, v in config.items()),
        *(f"  {k}: {base64.b64encode((v * 6).encode()).decode()}" for k, v in config.items()),
        *(f"  logo.png: {b64(n)}" for n in (30, 90, 300)),
        *(f"checksum/{what}: {made(64, HEX)}" for what in ("config", "secret")),
        *(f'etag W/"{made(32, HEX)}" not modified' for _ in range(2)),
        *(f"trace_id={made(32, HEX)} span_id={made(16, HEX)}" for _ in range(3)),
        *(f"traceparent: 00-{made(32, HEX)}-{made(16, HEX)}-01" for _ in range(2)),
        *(f"2026-11-{day}T04:17:0{day % 10}.{made(6, DIGITS)}Z started" for day in (11, 12, 28)),
        *(f"integrity sha512-{b64(64)}" for _ in range(2)),
        f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{made(44)} bot@shop",
        f"-----BEGIN CERTIFICATE-----\n{b64(48)}\n-----END CERTIFICATE-----",
        f"-----BEGIN PUBLIC KEY-----\n{b64(48)}\n-----END PUBLIC KEY-----",
        f"certificate-authority-data: {b64(60)}",
        f"ENC[AES256_GCM,data:{b64(12)},iv:{b64(12)},tag:{b64(12)},type:str]",
        f"SHA256:{b64(32)[:43]} (ED25519)",
        f"docker pull registry.example/shop@{digest()}",
        f'uid: {uuid()}, resourceVersion: "184467"',
        f"pod-template-hash={made(10, LOWER + DIGITS)}",
        *STILL,
    ]


STILL = (
    "https://example.com:8443/health?at=2026-11-23T14:02:00Z",
    "https://grafana.example/d/abc123/shop?from=now-1h&to=now",
    "https://git.example/acme/shop/-/commit/9fceb02d0ae598e95dc970b74767f19372d61af8",
    "http://127.0.0.1:8090/v1/runs",
    "https://shop.example/p/4711?utm_source=mail&page=2",
    "s3://acme-builds/shop/2.4.0/manifest.json",
    "git clone git@github.com:acme/shop.git and ssh://git@git.example/shop",
    "oci://registry.example/charts/shop",
    "https://example.slack.com/archives/C0123456789/p1764303421000100",
    "amqp://mq.internal:5672/shop",
    "postgresql://db.internal:5432/shop?sslmode=verify-full",
    "jdbc:postgresql://db.internal/shop",
    "redis://cache:6379/0",
    "kubectl -n shop scale deployment/shop-worker --replicas=0",
    "docker run -u 1000:1000 -p 8080:80 shop",
    "redis-cli --scan --pattern 'shop:token:*'",
    "redis-cli -h cache -p 6379 ping",
    "mysql -h db -P 3306 -u bot shop",
    "kubectl create secret generic shop-db --from-file=password=./pw.txt",
    "kubectl get secret shop-db -o yaml",
    "ssh -p 2222 bot@db.internal",
    "mkdir -p /srv/app/data",
    "psql -h db -U bot -W shop",
    "curl -u : --negotiate https://x",
    "PGPASSWORD=$DB_PASSWORD psql -c 'select 1'",
    "DB_PASSWORD=${DB_PASSWORD}",
    "password: ${DB_PASSWORD}",
    "token={{ .Values.token }}",
    "password: <your password>",
    "API_TOKEN=<redacted>",
    "password=********",
    "password: null",
    'token: ""',
    "secret=None",
    "password = var.db_password",
    "PASSWORD_FILE=/run/secrets/db",
    "DB_PASSWORD=/run/secrets/db-password",
    "token=/var/run/secrets/kubernetes.io/serviceaccount/token",
    "secretKeyRef shop-db/password, imagePullSecrets regcred, max_tokens=4096",
    "secretName: shop-db-credentials-v2",
    "secretKeyRef:\n  name: shop-db\n  key: password",
    "imagePullSecrets:\n- name: regcred",
    "existingSecret: shop-db",
    "existingSecret=shop-db",
    "secret: shop-db",
    "Secret shop-db, version 7 -> 6; token bucket of 20; the key checkout.kill_switch",
    "automountServiceAccountToken: false",
    "expirationSeconds: 3607, audience: vault",
    "PASSWORD_MIN_LENGTH=12",
    "TOKEN_TTL=3600",
    "passwordPolicy: strict",
    "password_reset_url=https://shop.example/reset",
    "nextPageToken: shop-9",
    "next_page_token=2",
    "csrf: SameSite=Lax",
    "token_type=bearer expires_in=3600",
    "tokens used: 1523 of 4096",
    "prompt_tokens=812 completion_tokens=44",
    'FATAL: password authentication failed for user "bot"',
    "Error: token expired",
    "the token is expired",
    "password is required",
    "the password is wrong",
    "invalid signature: key not found",
    "no credentials found in ~/.aws/config",
    "password must have 12 characters",
    "the bearer of this message; basic authentication; été – 中文 🙂",
    "401 Unauthorized: missing bearer token",
    "signature verified",
    "Authorization header missing",
    'WWW-Authenticate: Bearer realm="registry"',
    "credentials: include",
    "auth: none",
    "auth=oidc",
    "session opened for user root by (uid=0)",
    "session=expired",
    "cookie policy updated",
    "cookies: 3 set",
    "primary key (id)",
    "foreign_key=orders.id",
    "partition_key=orders",
    "cache key=shop:42",
    "idempotency-key: shop-12ab34/deploy/1",
    "public_key=ed25519",
    "sort key: created_at",
    "key: value",
    "keyspace=shop",
    "monkey=1",
    "api_key_id=12",
    "private_key_id: 7",
    "global-traffic-manager-eu-1 npm_config_user_agent risk-assessment",
    "sk-learn-model-loader-for-shop-1",
    "hf_model_loader_for_images_v2",
    "key-value-store-with-many-words",
    "live_reload_enabled_for_frontend=1",
    "pat-pattern-matching-with-many-words-1",
    "secret_santa_workshop_planning_2026",
    "1 of 6 pods ready after 5 min; last event: ImagePullBackOff (registry answered 403)",
    "OOMKilled (exit 137), restarts 4",
    '  File "/srv/app/bot/tokens.py", line 31, in whose',
    "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\nKeyError: 'password'",
    "at com.acme.auth.TokenFilter.doFilter(TokenFilter.java:112)",
    "panic: runtime error\ngoroutine 1 [running]:\nmain.go:12 +0x1d",
    "java.lang.IllegalStateException: Password encoder not configured",
    "at AuthService.getUserTokenFromHeader (/srv/app/auth.js:12:34)",
    "main.go:112:7: undefined: tokenSource",
    "src/secrets/manager.rs:88:21 warning",
    "_ZN4shop5token6parserE",
    "10.0.0.12:5432: connection refused",
    "dial tcp 10.0.0.12:5432: i/o timeout",
    "shop.example:443:10.0.0.4",
    "a:b:c:d:e",
    "rollback because checkout fails since 14:02, 12 % of orders",
    "rows that would go: 312 rows (more than 500 asks again)",
    "AWS_REGION=eu-central-1 AWS_PROFILE=shop",
    "PWD=/srv/app/shop",
    "OLDPWD=/home/bot/work",
    "PASS: 12 tests",
    "pass=12 fail=0",
    "tests passed: 120",
    "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/db-AbCdEf",
    "vault:secret/data/shop#password",
    "op://prod/shop/password",
    "password: vault:secret/data/shop#password",
    "db_password=arn:aws:ssm:eu-central-1:123456789012:parameter/shop/db",
    "helm.sh/chart: shop-1.2.3, app.kubernetes.io/managed-by: Helm",
    "x-request-id: 7f3a",
    "v1.0-rc.1+build.2026.11.28",
    "api-gateway-eu-1 sdk-generator mob-programming",
    "SKU SK12345, order EAAB-12",
    "AKIA is how keys of AWS begin",
    "xoxb is a prefix",
    "eyJ starts a JSON object in Base64",
    "HS256, RS256 and ES256 are supported",
    "TLS_AES_256_GCM_SHA384",
    "Sat Nov 28 04:17:11 UTC 2026",
    "20261128T041711Z",
)
