# The bot alone: pinned dependencies first, for the layer cache; then the project; then no more root.
# A registry's tag moves. Build on what you have looked at:
#   docker buildx imagetools inspect python:3.11-slim --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE=python:3.11-slim@sha256:<that digest> .
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY requirements/build.lock requirements/
RUN pip install --require-hashes -r requirements/build.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${BASE}

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /app

COPY requirements/runtime.lock requirements/
RUN pip install --require-hashes -r requirements/runtime.lock

COPY --from=build /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl \
 && useradd --system --uid 10001 --home-dir /var/lib/rollback-bot --create-home bot

# The catalogue and plans come from outside, read-only; files and an embedded database lie in the home folder.
ENV ROLLBACK_HOST=0.0.0.0 ROLLBACK_CATALOGUE=/etc/rollback-bot/rollback.yaml

USER bot
WORKDIR /var/lib/rollback-bot
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8090/healthz', timeout=2)"]
ENTRYPOINT ["rollback-bot"]
CMD ["serve"]
