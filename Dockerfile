# One image for all roles: server, client, attacker, lab; docker-compose.yml gives each its command.
#
#   docker build -t splitfed .                                           PyTorch for the CPU
#   docker build -t splitfed --build-arg TORCH_INDEX= .                  PyTorch as PyPI has it, with CUDA
#   docker build -t splitfed --build-arg BASE=registry/python:3.12 .     another base: Debian-like, with Python 3.11 or newer
ARG BASE=python:3.12-slim

# What all stages share: an environment of its own, and a user without rights.
FROM ${BASE} AS base
ENV PATH=/opt/splitfed/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1
RUN python3 -m venv /opt/splitfed \
 && useradd --create-home --uid 1000 splitfed \
 && mkdir -p /data /decoded /images /state /runs /authority /certs \
 && for party in server superlink attacker lab client-0 client-1 client-2; do mkdir /certs/$party; done \
 && chown -R splitfed /decoded /images /state /runs /authority /certs

# splitfed itself, without what it needs: small, and made anew with each change.
FROM base AS app
COPY . /build
RUN python -m pip install --no-cache-dir --no-deps /build && rm -rf /build

# The image without what it needs: tests mount that.
FROM app AS light
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="splitfed" \
      org.opencontainers.image.description="A laboratory for privacy in federated split learning" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/splitfed/splitfed"
USER splitfed
WORKDIR /runs
VOLUME ["/state", "/runs"]
ENTRYPOINT ["splitfed"]
CMD ["--help"]

# PyTorch first, the largest and least often changed; then what else pyproject.toml asks for.
FROM base AS packages
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /build/
RUN python -m pip install --no-cache-dir --no-compile --constraint /build/constraints.txt \
    ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} torch torchvision
COPY pyproject.toml /build/
RUN python -c "import tomllib; print('\n'.join(tomllib.load(open('/build/pyproject.toml', 'rb'))['project']['dependencies']))" \
    > /build/requirements.txt \
 && python -m pip install --no-cache-dir --no-compile --constraint /build/constraints.txt --requirement /build/requirements.txt

FROM light AS runtime
USER root
COPY --from=packages /opt/splitfed /opt/splitfed
USER splitfed
# the sparse coding solver, compiled here once; on another processor each container compiles it again for itself
RUN python -m splitfed.models.sparse.ahead
