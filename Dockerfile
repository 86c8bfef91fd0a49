# One recipe for every service: docker build --build-arg SERVICE=modbus_tcp .
# build_docker_image.sh runs the tests first. An image holds the shared library, the one service, and what that needs.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build

# Compilers, for processors that some library has no wheel for: BUILD_PACKAGES="gcc libc6-dev"
ARG BUILD_PACKAGES=""
RUN if [ -n "$BUILD_PACKAGES" ]; then \
        apt-get update && apt-get install -y --no-install-recommends $BUILD_PACKAGES && rm -rf /var/lib/apt/lists/*; \
    fi

# Where packages come from, if not from PyPI. What holds a password goes into the secret `pip_conf`, a pip.conf.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

WORKDIR /build
RUN python -m venv --without-pip /venv
COPY pyproject.toml constraints.txt containers/contents.py ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python contents.py requirements > shared.txt \
    && pip install 'setuptools>=77' -c constraints.txt \
    && pip --python /venv/bin/python install -r shared.txt -c constraints.txt

# What only this service needs.
ARG SERVICE
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python contents.py requirements "$SERVICE" > own.txt \
    && pip --python /venv/bin/python install -r own.txt -c constraints.txt

# Our own packages, as a wheel: what is not packaged is missing here, too, and not only for others.
COPY . project/
RUN python contents.py copy "$SERVICE" project selected \
    && pip wheel --no-deps --no-index --no-build-isolation --wheel-dir wheels ./selected \
    && pip --python /venv/bin/python install --no-deps --no-index wheels/*.whl

FROM ${BASE_IMAGE}
ARG SERVICE
LABEL org.opencontainers.image.title="Wattbus ${SERVICE}"

RUN groupadd --gid 10001 wattbus \
    && useradd --uid 10001 --gid wattbus --no-create-home --home-dir /data --shell /usr/sbin/nologin wattbus \
    && install --directory --owner wattbus --group wattbus /data
COPY --from=build /venv /venv
COPY containers/entrypoint.sh containers/healthy.py containers/materials.py /usr/local/lib/wattbus/

# The bill of materials, of what is in this image.
RUN mkdir -p /usr/local/share/wattbus \
    && /venv/bin/python -I -B /usr/local/lib/wattbus/materials.py "${SERVICE}" > /usr/local/share/wattbus/sbom.cdx.json

ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SERVICE=${SERVICE} DATA_DIRECTORY=/data HTTP_PORT=8090
WORKDIR /data
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-S", "/usr/local/lib/wattbus/healthy.py"]
ENTRYPOINT ["/usr/local/lib/wattbus/entrypoint.sh"]
