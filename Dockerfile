# docker build -t sillage .
# docker run -p 8080:8080 -v sillage:/data -e SILLAGE_PUBLIC_URL=http://localhost:8080 sillage

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# The certificates of a Postgres server that is reached over TLS are checked against the system's roots.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# A fixed number, so that the owner of files on a mounted directory can be set from outside: chown 10001:10001.
RUN groupadd --gid 10001 sillage \
    && useradd --uid 10001 --gid sillage --no-create-home --home-dir /data --shell /usr/sbin/nologin sillage \
    # A new volume takes over the owner of the directory it is mounted on.
    && install -d -o sillage -g sillage -m 0700 /data
COPY --from=build /src/target/release/sillage /usr/local/bin/sillage
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV SILLAGE_LISTEN=0.0.0.0:8080 \
    SILLAGE_DATA_DIR=/data
EXPOSE 8080
# Whether the process answers, not whether it is ready: a server whose spool is full still redirects, and a restart would
# not make room.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["sillage", "health"]
# Stops on SIGTERM within server.shutdown (20 s): give `docker stop` 30 s (-t 30).
ENTRYPOINT ["sillage"]
CMD ["serve"]
