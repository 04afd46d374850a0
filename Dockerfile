# Two images: waybilld (the daemon, the default) and waybill (the client, for CI).
#
#   docker build --target waybilld --tag ghcr.io/waybill-dev/waybilld:v0.1.0 .
#   docker build --target waybill  --tag ghcr.io/waybill-dev/waybill:v0.1.0 .
#
# The base of what runs is pinned by digest, since its tag moves. The builder is
# named by an exact version; `crane digest golang:1.26.8-bookworm` pins it too.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/ ./cmd/waybill ./cmd/waybilld ./deploy/compose/probe ./deploy/compose/bucket

FROM gcr.io/distroless/static-debian12:nonroot@sha256:afa5c872c891853ca7fcf1f12c3edb23f7eeef36189728842dd51042ff57f7ab AS runtime
LABEL org.opencontainers.image.source="https://github.com/waybill-dev/waybill" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532

FROM runtime AS waybill
COPY --from=build /out/waybill /waybill
ENTRYPOINT ["/waybill"]

FROM runtime AS waybilld
COPY --from=build /out/waybilld /out/probe /out/bucket /
COPY --from=build /src/policies /etc/waybill/policies
EXPOSE 8080 9090
ENTRYPOINT ["/waybilld"]
