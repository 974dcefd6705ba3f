//! Wrong configurations end the start with exit code 2 and everything that is wrong, each with its
//! place, its value and a way out.

use std::process::{Command, Output};

use sillage::door::{Config, Flags};

use crate::harness::{Engine, PostgresServer, TestServer, new_dir};

const SNAPSHOT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/configuring/wrong_configurations.txt"
);

/// The binary in a directory of its own, with nothing of this process' environment.
fn sillage(dir: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sillage"));
    command.env_clear().current_dir(dir);
    command
}

/// What is told of one wrong configuration: the lines of standard error.
fn tell(lines: &[&str]) -> Vec<String> {
    let dir = new_dir("configuration");
    let mut command = sillage(&dir);
    command.arg("check-config");
    let (mut file, mut names_file) = (String::new(), false);
    for line in lines {
        match line.strip_prefix("$ ") {
            None => file += &format!("{line}\n"),
            Some(flag) if flag.starts_with("--") => {
                names_file |= flag.starts_with("--config ");
                command.args(flag.split(' '));
            }
            Some(variable) => {
                let (name, value) = variable.split_once('=').unwrap();
                command.env(name, value);
            }
        }
    }
    std::fs::write(dir.join("sillage.toml"), file).unwrap();
    if !names_file {
        command.args(["--config", "sillage.toml"]);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{lines:?}\n{told}");
    assert_eq!(stdout, b"", "{lines:?}");
    told.lines().map(str::to_owned).collect()
}

#[test]
fn wrong_configurations_are_told_as_the_snapshot_says() {
    let before = std::fs::read_to_string(SNAPSHOT).unwrap();
    let mut parts = before.split("\n# ");
    let mut after = parts.next().unwrap().trim_end().to_owned() + "\n";
    let mut count = 0;
    for part in parts {
        let mut lines = part.lines();
        let title = lines.next().unwrap();
        let input: Vec<&str> = lines
            .filter(|line| !line.is_empty() && !line.starts_with("> "))
            .collect();
        after += &format!("\n# {title}\n{}\n", input.join("\n"));
        for line in tell(&input) {
            assert!(!line.contains("letmein"), "a secret: {line}");
            after += &format!("> {line}\n");
        }
        count += 1;
    }
    assert!(count >= 50, "{count}");
    if std::env::var_os("WRITE_SNAPSHOTS").is_some() {
        std::fs::write(SNAPSHOT, &after).unwrap();
    } else {
        similar(&before, &after);
    }
}

/// The first line that differs, which says more than two whole texts.
fn similar(before: &str, after: &str) {
    for (number, (wanted, got)) in before.lines().zip(after.lines()).enumerate() {
        assert_eq!(wanted, got, "line {} of {SNAPSHOT}", number + 1);
    }
    assert_eq!(before.lines().count(), after.lines().count());
}

#[test]
fn check_config_prints_a_file_that_can_be_used_and_tells_what_is_doubtful() {
    let dir = new_dir("configuration");
    let output = sillage(&dir)
        .args(["check-config", "--listen", "0.0.0.0:8080"])
        .env("SILLAGE_ADMIN_TOKEN", "letmein-letmein-letmein")
        .env("SILLAGE_SPOOL__ACK", "fast")
        .output()
        .unwrap();
    let (shown, doubts) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{doubts}");
    assert!(!shown.contains("letmein"), "{shown}");
    assert!(shown.contains("\nack = \"fast\"\n"), "{shown}");
    assert!(doubts.contains("public_url is not set"), "{doubts}");
    std::fs::write(dir.join("again.toml"), &shown).unwrap();
    let again = sillage(&dir)
        .args(["check-config", "--config", "again.toml"])
        .env("SILLAGE_ADMIN_TOKEN", "letmein-letmein-letmein")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), shown);
    // Nothing was made.
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
}

/// Another service's variables, as Kubernetes gives them to every container.
#[test]
fn variables_of_a_service_named_sillage_are_no_mistakes() {
    let output = sillage(&new_dir("configuration"))
        .arg("check-config")
        .env("SILLAGE_SERVICE_HOST", "10.0.0.1")
        .env("SILLAGE_SERVICE_PORT", "8080")
        .env("SILLAGE_SERVICE_PORT_HTTP", "8080")
        .env("SILLAGE_PORT", "tcp://10.0.0.1:8080")
        .env("SILLAGE_PORT_8080_TCP", "tcp://10.0.0.1:8080")
        .env("SILLAGE_PORT_8080_TCP_ADDR", "10.0.0.1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A variable of somebody else's that is no text.
#[test]
fn variables_that_are_no_text_end_no_start() {
    use std::os::unix::ffi::OsStrExt as _;
    let strange = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let dir = new_dir("configuration");
    let others = sillage(&dir)
        .arg("check-config")
        .env("SOMETHING", strange)
        .output()
        .unwrap();
    assert!(others.status.success(), "{others:?}");
    let own = sillage(&dir)
        .arg("check-config")
        .env("SILLAGE_LOG__LEVEL", strange)
        .output()
        .unwrap();
    let told = String::from_utf8(own.stderr).unwrap();
    assert_eq!(own.status.code(), Some(2), "{told}");
    assert!(told.contains("SILLAGE_LOG__LEVEL"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_tries_the_directory_and_the_database() {
    let check = |dir: &std::path::Path, data: &str, url: &str| {
        let output = sillage(dir)
            .args(["check-config", "--connect", "--data-dir", data])
            .args(["--database-url", url])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let dir = new_dir("configuration");
    let mut postgres = PostgresServer::start().await;
    let url = postgres.new_database().await;
    let (code, told) = check(&dir, "data", &url);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("database: Postgres answers"), "{told}");
    assert!(told.contains("data does not exist yet"), "{told}");
    let (code, told) = check(&dir, "data", "sqlite:data/hits.db");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("data/hits.db does not exist yet"), "{told}");
    assert_eq!(
        std::fs::read_dir(&dir).unwrap().count(),
        0,
        "nothing is made"
    );

    std::fs::write(dir.join("file"), "").unwrap();
    postgres.kill().await;
    let (code, told) = check(&dir, "file", &url);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("file is not a directory; set data_dir"),
        "{told}"
    );
    assert!(
        told.contains("Postgres does not answer; check database_url"),
        "{told}"
    );

    // Beside a running server.
    let server = TestServer::on(Engine::Sqlite).start().await;
    let output = server
        .command()
        .args(["check-config", "--connect"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("database: SQLite answers"), "{told}");
    server.finish().await;
}

/// The check knows the server's own paths by a list of its own, and the server may get more.
#[test]
fn no_path_of_the_servers_own_can_be_given_away() {
    // Names of tracking are constants; what else is there says something of requests.
    let tracking = include_str!("../../src/tracking/route.rs").lines();
    let tracking: String = tracking
        .filter(|line| line.starts_with("const ") || line.starts_with("pub const "))
        .collect();
    let others = [
        include_str!("../../src/web.rs"),
        include_str!("../../src/web/manual.rs"),
    ];
    let source = tracking + &others.concat();
    let own: Vec<&str> = source
        .split("\"/")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.trim_end_matches('/')))
        .filter(|path| {
            path.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/._".contains(&b))
        })
        .collect();
    assert!(own.len() > 20 && own.contains(&"docs"), "{own:?}");
    for path in own {
        let given = [("SILLAGE_PATHS__SCRIPT".to_owned(), format!("/{path}"))];
        let loaded = Config::load(None, given, &Flags::default());
        assert!(loaded.is_err() || path == "mtc.js", "/{path}");
    }
}
