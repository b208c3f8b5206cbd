# syntax=docker/dockerfile:1
# outrider's image: FROM scratch, without a shell or a package manager; `--target debug` has both.
#
#   docker build -t outrider:0.0.0 .
#   docker build -t outrider:0.0.0-debug --target debug .
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=true -t outrider:0.0.0 .
#
# --build-arg NATIVE=0 leaves the hot path uncompiled (no C compiler works for minutes then).
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ARG NATIVE=1
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# gcc for the native build; nft, iptables and ip make capture rules and come along into the image
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev nftables iptables iproute2 ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt pyproject.toml setup.py README.md LICENSE ./
COPY proxy proxy
# mypyc looks at the types of what is imported, so the dependencies have to be here too
RUN pip install -c constraints.txt setuptools wheel mypy cython types-protobuf types-PyYAML \
    && pip install --no-build-isolation -c constraints.txt ".[brotli,zstd,inject,webhook]"
RUN OUTRIDER_COMPILE=${NATIVE} pip wheel --no-deps --no-build-isolation -w /wheel .
COPY config/image config/image
RUN python config/image/make_root.py --root /root-of-image --constraints constraints.txt \
    --requirement "$(echo /wheel/*.whl)[brotli,zstd,inject]" \
    --tool nft --tool iptables --tool ip6tables --tool iptables-restore --tool ip6tables-restore \
    --tool iptables-save --tool ip6tables-save --tool ip

FROM ${PYTHON_IMAGE} AS debug
RUN apt-get update \
    && apt-get install -y --no-install-recommends nftables iptables iproute2 curl tcpdump procps \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /root-of-image/opt/outrider /opt/outrider
COPY --from=build /root-of-image/usr/local/bin/outrider /usr/local/bin/outrider
COPY --from=build /root-of-image/usr/share/sbom /usr/share/sbom
COPY --from=build /root-of-image/etc/passwd /root-of-image/etc/group /etc/
ENV PYTHONPATH=/opt/outrider PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OUTRIDER_READY_URL=http://127.0.0.1:9901/ready
USER 65532:65532
EXPOSE 10000 9901 15001 15006 15020 15021 15090
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["outrider", "ready", "-q"]
ENTRYPOINT ["outrider"]
CMD ["--help"]

FROM scratch AS slim
ARG VERSION=0.0.0
ARG REVISION=unknown
COPY --from=build /root-of-image /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/outrider PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    OUTRIDER_READY_URL=http://127.0.0.1:9901/ready
LABEL org.opencontainers.image.title="outrider" \
      org.opencontainers.image.description="An Envoy-compatible sidecar proxy in Python" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# an injected sidecar runs as 1337, its init container as root; both say so themselves
USER 65532:65532
# a proxy's and its admin interface's; a sidecar's
EXPOSE 10000 9901 15001 15006 15020 15021 15090
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["outrider", "ready", "-q"]
ENTRYPOINT ["outrider"]
CMD ["--help"]
