//! Every block of the documentation, run as it stands, on both databases: README.md and the pages
//! of the manual, `static/docs/*.md`.
//!
//! What to know when you write a block:
//! - A page continues where README.md ends, and knows no other page: README's `sh` blocks run before
//!   its own, and what they sent is in the database by then.
//! - `sh` blocks run one after the other in one shell with `set -e`, in a directory of their own,
//!   beside a server that was started there with `--demo` and nothing else: its data directory is
//!   `data`, its first delivery the demo's. A variable of one block is there in the next. curl fails
//!   on every status from 400 on. Replaced are addresses only: see [`Place::put_into`].
//! - `sql` runs on the database after all that, and has to find something; queries of other systems
//!   run on tables that [`VENDORS`] makes.
//! - `toml` goes through `check-config`, `nginx` is started and asked, scripts in `js` and `html`
//!   have to parse.
//! - Files that a block reads and nobody makes are in [`FILES`].
//! - What cannot be run stands in [`NOT_RUN`] with its reason. Everything else fails the test, also
//!   a language without a rule.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use sillage::both;
use sqlx::AssertSqlSafe;

use crate::harness::{
    Engine, Nginx, PostgresServer, TestServer, certificate, free_port, new_dir, on_both, wait_for,
};

/// How blocks begin that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "# stop the server first",
        "needs a server that does not run; the test `moving` does it",
    ),
    ("sillage move --give-up", "the same"),
    // Whatever profile it names.
    (
        "cargo run ",
        "builds the program; the test starts what it would start",
    ),
    ("docker build", "needs Docker"),
    ("duckdb ", "needs DuckDB, which Debian does not have"),
    (
        "apt-get install",
        "installs packages for the benchmark, and runs it",
    ),
];

/// Queries of other systems, by how they begin, and tables with the columns that their
/// documentation names.
const VENDORS: &[(&str, &str)] = &[
    (
        "select iDeliveryId",
        "create table NmsDelivery (iDeliveryId, sLabel, tsContact);
         create table NmsTrackingUrl (iTrackingUrlId, iDeliveryId, iType, sSource, sLabel, sCategory, sTagId, tsValidity);
         create table NmsBroadLogRcp (iBroadLogId, iDeliveryId, sAddress, tsEvent);",
    ),
    (
        "select id, is_published",
        "create table page_redirects (id, is_published, redirect_id, url);
         create table leads (id, email);
         create table email_stats (id, email_id, lead_id, email_address, tracking_hash, date_sent, is_failed);",
    ),
];

/// What another system's exports hold, and one of ours.
const FILES: &[(&str, &str)] = &[
    (
        "links.csv",
        "slug,url,label\nspring,https://www.example.com/spring,Spring\n",
    ),
    (
        "deliveries.csv",
        "iDeliveryId,sLabel,tsContact\n9000001,November,2025-11-01 09:00:00\n",
    ),
    (
        "urls.csv",
        "iTrackingUrlId,iDeliveryId,iType,sSource,sLabel,sCategory,sTagId,tsValidity\n9000002,9000001,1,https://www.example.com/,Home,,,\n",
    ),
    (
        "broadlogs.csv",
        "iBroadLogId,iDeliveryId,sAddress,tsEvent\n9000003,9000001,ada@example.com,2025-11-01 \
        09:00:00\n",
    ),
    (
        "redirects.tsv",
        "id\tis_published\tredirect_id\turl\n1\t1\t0123456789abcdef012345678\thttps://www.example.com/\n",
    ),
    (
        "contacts.tsv",
        "id\temail\tfirstname\n1\tada@example.com\tAda\n",
    ),
    (
        "stats.tsv",
        "id\temail_id\tlead_id\temail_address\ttracking_hash\tdate_sent\tis_failed\n1\t9000555\t1\tada@example.com\t0123456789abc\t2025-11-01 09:00:00\t0\n",
    ),
];

/// A fenced block.
struct Block {
    /// `static/docs/mail.md:42`
    place: String,
    language: String,
    text: String,
}

fn blocks(file: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(file).unwrap();
    let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let within = lines.by_ref().map(|(_, line)| line);
        let within = within.take_while(|line| !line.trim_start().starts_with("```"));
        let text: String = within
            .flat_map(|line| [line.get(indent..).unwrap_or_default(), "\n"])
            .collect();
        blocks.push(Block {
            place: format!("{}:{}", name.display(), number + 2),
            language: language.trim().to_owned(),
            text,
        });
    }
    blocks
}

/// README.md and the pages of the manual.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = std::fs::read_dir(root.join("static/docs")).unwrap();
    let pages = dir.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = pages
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
        .collect();
    files.sort();
    files.insert(0, root.join("README.md"));
    files
}

/// The blocks that are run.
fn runnable(file: &Path) -> Vec<Block> {
    let is_run = |block: &Block| {
        !NOT_RUN
            .iter()
            .any(|(start, _)| block.text.starts_with(start))
    };
    blocks(file).into_iter().filter(is_run).collect()
}

/// Where the documentation's addresses are in a test.
struct Place {
    server: String,
    postgres: String,
    /// A role and a database that no other test makes.
    name: String,
}

impl Place {
    fn put_into(&self, text: &str) -> String {
        text.replace("127.0.0.1:8080", &self.server)
            .replace(
                "https://t.example.com/",
                &format!("http://{}/", self.server),
            )
            .replace(
                "sillage:secret@localhost/sillage",
                &format!("{0}:secret@{1}/{0}", self.name, self.postgres),
            )
            .replace(
                "create role sillage ",
                &format!("create role {} ", self.name),
            )
            .replace(
                "create database sillage owner sillage",
                &format!("create database {0} owner {0}", self.name),
            )
    }
}

/// Programs in front of those of the machine: `sillage` as it was built, `serve` of which ends once
/// it is ready, and a curl that fails where the server refuses.
fn programs(dir: &Path) -> String {
    let place = dir.join("bin");
    std::fs::create_dir(&place).unwrap();
    let program = env!("CARGO_BIN_EXE_sillage");
    let sillage = format!(
        r#"#!/bin/sh
if [ "$1" != serve ]; then exec '{program}' "$@"; fi
export SILLAGE_LISTEN=127.0.0.1:{port} SILLAGE_DATA_DIR=another
'{program}' "$@" >another.log 2>&1 & id=$!
tries=0
until curl -s http://127.0.0.1:{port}/readyz | grep -q '"database":"up"'; do
    tries=$((tries + 1))
    if [ $tries -gt 400 ] || ! kill -0 $id; then cat another.log; kill $id; exit 1; fi
    sleep 0.05
done
kill $id
wait $id
"#,
        port = free_port()
    );
    let curl = "#!/bin/sh\nPATH=${PATH#*:} exec curl --fail-with-body \"$@\"\n";
    for (name, text) in [("sillage", sillage.as_str()), ("curl", curl)] {
        let file = place.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    format!("{}:{}", place.display(), std::env::var("PATH").unwrap())
}

/// Waits in a shell until what was sent is in the database.
fn stored(server: &str) -> String {
    format!(
        r#"tries=0
until spool=$(curl -s http://{server}/readyz) &&
    [[ $spool == *'"backlog":0,'* && $spool == *'"unwritten":0'* ]]; do
    tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.05
done
"#
    )
}

/// Runs a program to its end, off the threads that wait for the server.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn told(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}\n{err}")
}

async fn every_block_of_the_documentation_runs_as_it_stands(engine: Engine) {
    let documents = documents();
    let readme = runnable(&documents[0]);
    for (index, file) in documents.iter().enumerate() {
        let blocks = runnable(file);
        if blocks.is_empty() {
            continue;
        }
        let dir = new_dir("documentation");
        let server = TestServer::on(engine)
            .data_dir(&dir.join("data"))
            // As somebody has it who has set nothing.
            .with("ADMIN_TOKEN", "")
            .with("KEYS__SIGNING", "")
            .argument("--demo")
            .start()
            .await;
        wait_for("the demo is made", Duration::from_secs(60), async || {
            server.log().contains("Demo:")
        })
        .await;
        let cluster = PostgresServer::new_shared_database().await;
        let (_, cluster) = cluster.split_once('@').unwrap();
        let (postgres, database) = cluster.split_once('/').unwrap();
        let place = Place {
            server: server.address().to_string(),
            postgres: postgres.to_owned(),
            name: format!("readme_{database}"),
        };
        for (name, text) in FILES {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let of = |language: &'static str| {
            let of_language = move |block: &&Block| block.language == language;
            blocks.iter().filter(of_language)
        };
        for block in &blocks {
            let known = ["sh", "sql", "toml", "nginx", "js", "html"];
            assert!(
                known.contains(&block.language.as_str()),
                "{}: no rule for {:?}",
                block.place,
                block.language
            );
        }

        let commands = |blocks: &[Block]| -> String {
            let of_shell = blocks.iter().filter(|block| block.language == "sh");
            of_shell
                .map(|block| {
                    let text = place.put_into(&block.text);
                    format!("echo '== {}' >&2\n{text}", block.place)
                })
                .collect()
        };
        let mut script = "set -euo pipefail\n".to_owned();
        if index > 0 {
            script += &commands(&readme);
            script += &stored(&place.server);
        }
        script += &commands(&blocks);
        script += "echo == done >&2\n";
        let (host, port) = postgres.split_once(':').unwrap();
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &script])
            .current_dir(&dir)
            .env_clear()
            .env("PATH", programs(&dir))
            .env("SILLAGE_LISTEN", &place.server)
            .env("SILLAGE_METRICS__LISTEN", "")
            .envs([
                ("PGHOST", host),
                ("PGPORT", port),
                ("PGUSER", "sillage"),
                ("PGDATABASE", "postgres"),
            ]);
        if let Some(url) = server.database_url() {
            shell.env("DATABASE_URL", url);
        }
        let ran = run(shell).await;
        assert!(
            ran.status.success() && told(&ran).contains("== done"),
            "{}",
            told(&ran)
        );
        server.wait_drained(Duration::from_secs(30)).await;

        for block in of("sql") {
            match VENDORS
                .iter()
                .find(|(start, _)| block.text.starts_with(start))
            {
                Some((_, tables)) => {
                    let vendor = sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap();
                    let text = format!("{tables}\n{}", block.text);
                    let ran = sqlx::raw_sql(AssertSqlSafe(text)).execute(&vendor).await;
                    ran.unwrap_or_else(|error| panic!("{}: {error}", block.place));
                }
                None => {
                    for statement in block.text.split_inclusive(';') {
                        if statement.trim().is_empty() {
                            continue;
                        }
                        let sql = AssertSqlSafe(statement.to_owned());
                        let found = both!(server.db().pool(), pool => sqlx::raw_sql(sql).fetch_all(pool).await.map(|rows| rows.len()));
                        let found = found.unwrap_or_else(|error| {
                            panic!("{}: {error}\n{statement}", block.place)
                        });
                        assert_ne!(found, 0, "{} finds nothing:\n{statement}", block.place);
                    }
                }
            }
        }
        for block in of("toml") {
            std::fs::write(dir.join("some.toml"), &block.text).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_sillage"));
            command
                .env_clear()
                .current_dir(&dir)
                .args(["check-config", "--config", "some.toml"]);
            let ran = run(command).await;
            assert!(ran.status.success(), "{}: {}", block.place, told(&ran));
        }
        for block in of("nginx") {
            serve_behind(&server, block).await;
        }
        for block in of("js").chain(of("html")) {
            let code = if block.language == "js" {
                block.text.clone()
            } else {
                let scripts = block.text.split("<script>").skip(1);
                scripts
                    .map(|script| script.split("</script>").next().unwrap())
                    .collect()
            };
            std::fs::write(dir.join("some.js"), code).unwrap();
            let mut node = Command::new("node");
            node.current_dir(&dir).args(["--check", "some.js"]);
            let ran = run(node).await;
            assert!(ran.status.success(), "{}: {}", block.place, told(&ran));
        }
        server.finish().await;
    }
}

/// Starts nginx with a block and asks it what its readers, forms and strangers ask.
async fn serve_behind(server: &TestServer, block: &Block) {
    let (port, plain_port) = (free_port(), free_port());
    let (certificate, key) = certificate();
    let mut http = block.text.clone();
    for (documented, here) in [
        (
            "listen 443 ssl;",
            format!("listen 127.0.0.1:{port} ssl; listen 127.0.0.1:{plain_port};"),
        ),
        ("127.0.0.1:8080", server.address().to_string()),
        (
            "/etc/ssl/t.example.com.pem",
            certificate.display().to_string(),
        ),
        ("/etc/ssl/t.example.com.key", key.display().to_string()),
    ] {
        assert_eq!(
            http.matches(documented).count(),
            1,
            "{}: {documented}",
            block.place
        );
        http = http.replace(documented, &here);
    }
    let nginx = Nginx::start(&http, plain_port).await;
    let mut client = crate::harness::Client::new(([127, 0, 0, 1], plain_port).into());
    client.patience = Duration::from_secs(60);
    assert_eq!(
        client.get("/r/autumn").await.status,
        302,
        "{}",
        nginx.errors()
    );
    // Nobody from outside comes to the operator's side.
    for path in ["/api/v1/hits", "/docs/", "/metrics", "/readyz"] {
        assert_eq!(client.get(path).await.status, 403, "{path}");
    }
    // A form with a file, a batch: longer than nginx takes by itself.
    let head =
        "--x\r\nContent-Disposition: form-data; name=\"mauticform[file]\"; filename=\"a\"\r\n\r\n";
    let form = format!("{head}{}\r\n--x--\r\n", "a".repeat(5 << 20));
    let headers = [("content-type", "multipart/form-data; boundary=x")];
    let line = format!("wt?p=300,a,0,,,,,0&x={}\n", "a".repeat(3_000));
    for (path, body) in [
        ("/form/submit?formId=3", form),
        ("/111111111111111/batch", line.repeat(1_000)),
    ] {
        let answer = client
            .request(Method::POST, path, &headers, Bytes::from(body))
            .await
            .unwrap();
        assert!(
            ![413, 502, 504].contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
    }
}

#[test]
fn what_is_not_run_is_there() {
    let blocks: Vec<Block> = documents().iter().flat_map(|file| blocks(file)).collect();
    assert!(blocks.len() > 30, "{}", blocks.len());
    for (start, why) in NOT_RUN {
        let there = blocks.iter().filter(|block| block.text.starts_with(start));
        assert_eq!(there.count(), 1, "{start} ({why})");
    }
    // A variable that nobody sets is an empty token.
    let demo = ["static/demo/shop.html", "static/demo/mail.html"];
    let demo = demo.map(|place| Path::new(env!("CARGO_MANIFEST_DIR")).join(place));
    for file in documents().iter().chain(&demo) {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("$SILLAGE_ADMIN_TOKEN"), "{}", file.display());
    }
}

on_both!(every_block_of_the_documentation_runs_as_it_stands);
