# Three images: predictor (torch and the weights), transformer (no torch), and local with both in one
# container. `make images` builds them; docs/kubernetes.md and docs/migration.md say how to run them.
#
# Packages lie in /opt/ctscan. /app holds data alone, so that mounts may replace its folders. Nothing
# is written to but /app/feedback, /app/data and /tmp: the root file system may be read-only.
ARG SITE=/opt/ctscan/lib/python3.13/site-packages

FROM debian:trixie-slim AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /app ctscan \
    && install --directory --owner ctscan --group ctscan /app/feedback /app/data
ENV PATH=/opt/ctscan/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app

# uv in the version of the lock. Only its own lines are copied on, so that other changes of that lock
# build nothing anew.
FROM python AS uv-pin
COPY locks/dev.txt /
RUN sed -n '/^uv==/,/[^\\]$/p' /dev.txt > /uv.txt

FROM python AS uv
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
COPY --from=uv-pin /uv.txt /
RUN python3 -m venv /uv && /uv/bin/pip install --no-cache-dir --require-hashes --requirement /uv.txt
COPY --chmod=755 <<'SCRIPT' /uv/bin/fill
#!/bin/sh
# fill LOCK: install what the lock pins into /opt/ctscan, and take out what no service ever reads.
# With TORCH_INDEX_URL, torch comes from there in the locked version, without the CUDA libraries.
set -eu
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
install="/uv/bin/uv pip install --python /opt/ctscan"
test -d /opt/ctscan || /uv/bin/uv venv --quiet /opt/ctscan
if test -z "${TORCH_INDEX_URL:-}"; then
    $install --require-hashes --requirement "$1"
else
    # An entry of a lock is a line that begins with a name, and the indented lines after it.
    awk '/^[a-z]/ { keep = !/^(torch|triton|nvidia-|cuda-)/ } keep' "$1" > /tmp/lock.txt
    $install --require-hashes --requirement /tmp/lock.txt
    $install --no-deps --index-url "$TORCH_INDEX_URL" "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$1")"
    rm /tmp/lock.txt
fi
cd /opt/ctscan/lib/python3*/site-packages
rm -rf kubernetes/aio kubernetes/test numpy/tests numpy/*/tests pandas/tests torch/include
find . -name '*.a' -delete
# KServe's SDK loads none of these thousand modules; the bytecode is half of what they take.
find kubernetes/client/api kubernetes/client/models -name '*.pyc' ! -name '__init__.*' -delete
SCRIPT

FROM python AS predictor
ARG SITE TORCH_INDEX_URL
# In this stage, not copied from another: each copy of torch takes its size again while building.
RUN --mount=type=bind,from=uv,source=/uv,target=/uv \
    --mount=type=bind,source=locks/predictor.txt,target=/predictor.txt \
    --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/fill /predictor.txt
# OpenMP threads that spin while they wait use up the CPU time that a container's limit grants.
ENV OMP_WAIT_POLICY=PASSIVE
COPY configs/config.yaml configs/
COPY models models
COPY serving $SITE/serving
COPY predictor $SITE/predictor
RUN python -m compileall -q $SITE/serving $SITE/predictor
USER 1000:1000
EXPOSE 8080 8081
ENTRYPOINT ["tini", "--", "python", "-m", "predictor"]
CMD ["--http_port=8080", "--grpc_port=8081"]

FROM python AS transformer
ARG SITE
RUN --mount=type=bind,from=uv,source=/uv,target=/uv \
    --mount=type=bind,source=locks/transformer.txt,target=/transformer.txt \
    --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/fill /transformer.txt
COPY configs/config.yaml configs/
COPY serving $SITE/serving
COPY transformer $SITE/transformer
RUN python -m compileall -q $SITE/serving $SITE/transformer
# Until a volume is mounted at /app/feedback and the variable says so.
ENV FEEDBACK_DURABLE=0
USER 1000:1000
EXPOSE 8080 8081
ENTRYPOINT ["tini", "--", "python", "-m", "transformer"]
CMD ["--http_port=8080", "--grpc_port=8081"]

# `ctscan serve`, as the old script's image ran: port 8000, models and configs from mounts.
FROM predictor AS local
ARG SITE
USER root
RUN --mount=type=bind,from=uv,source=/uv,target=/uv \
    --mount=type=bind,source=locks/transformer.txt,target=/transformer.txt \
    --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/fill /transformer.txt
COPY transformer $SITE/transformer
COPY ctscan $SITE/ctscan
RUN python -m compileall -q $SITE/transformer $SITE/ctscan
ENV FEEDBACK_DURABLE=0 HOST=0.0.0.0
USER 1000:1000
EXPOSE 8000 8001
ENTRYPOINT ["tini", "--", "python", "-m", "ctscan"]
CMD ["serve"]
