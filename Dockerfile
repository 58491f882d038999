# syntax=docker/dockerfile:1
# The live server. docs/deploy.md says how to run it; for a CUDA machine build with
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130    (or as your driver needs)
# PyTorch's wheels bring CUDA along: the base stays the same, the host needs the NVIDIA toolkit.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=server
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
RUN pip install --index-url "${TORCH_INDEX}" "torch>=2.13,<2.14"
COPY pyproject.toml README.md LICENSE /source/
COPY configs /source/configs
COPY difffae /source/difffae
COPY streamer /source/streamer
COPY webclient /source/webclient
RUN pip install "/source[${EXTRAS}]"

FROM python:${PYTHON}
# What OpenCV's wheel links besides its own libraries.
RUN apt-get update \
    && apt-get install --no-install-recommends --yes libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 streamer \
    && install --directory --owner=streamer --mode=0700 /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp/cache \
    NUMBA_CACHE_DIR=/tmp/cache/numba \
    XDG_CONFIG_HOME=/data/config \
    XDG_STATE_HOME=/data/state \
    STREAMER_HOST=0.0.0.0 \
    STREAMER_PORT=8080
USER streamer
WORKDIR /home/streamer
VOLUME /data
EXPOSE 8080
# Asked under the address it listens at, which is a name the server always answers to.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://{STREAMER_HOST}:{STREAMER_PORT}/healthz'.format(**os.environ), timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "streamer.server"]
