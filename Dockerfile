# docker build -t sillage .
# docker run -p 127.0.0.1:8080:8080 -v sillage:/data \
#   -e SILLAGE_PUBLIC_URL=http://localhost:8080 sillage

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# To verify a Postgres server's certificate, TLS needs the system's roots.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# A fixed user id, so that you can chown a mounted directory from outside: chown 10001:10001.
RUN groupadd --gid 10001 sillage \
    && useradd --uid 10001 --gid sillage --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin sillage \
    # A new volume takes the owner of the directory that it is mounted on.
    && install -d -o sillage -g sillage -m 0700 /data
COPY --from=build /src/target/release/sillage /usr/local/bin/sillage
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV SILLAGE_LISTEN=0.0.0.0:8080 \
    SILLAGE_DATA_DIR=/data
EXPOSE 8080
# Asks whether the process answers, not whether it is ready: a server with a full spool still
# redirects, and a restart would not make room.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["sillage", "health"]
# SIGTERM stops it within server.shutdown (20 s): give `docker stop` 30 s (-t 30).
ENTRYPOINT ["sillage"]
CMD ["serve"]
