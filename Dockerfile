# syntax=docker/dockerfile:1

# The binary is static (no cgo), so that any Linux image can carry it.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# The build context has no .git, so the version is handed in:
#   docker build --build-arg VERSION=$(git describe --tags --always) .
ARG VERSION=
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false \
        -ldflags "-s -w -X main.version=${VERSION}" -o /out/atview ./cmd/atview

FROM debian:bookworm-slim
# ca-certificates: wss:// sources. curl: the health checks of docker-compose.yml.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/atview atview
COPY --from=build /out/atview /usr/local/bin/atview
USER atview
WORKDIR /var/lib/atview
# Inside a container, loopback would reach nobody.
ENV ATVIEW_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["atview"]
CMD ["serve"]
