//! The data directory: nobody else's to read, and one server's at a time.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Campaign, Engine, Process, TestServer, free_port, new_dir, on_both};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Names and modes of what others may read.
fn open_files(dir: &Path) -> Vec<(String, u32)> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                mode(&entry.path()),
            )
        })
        .filter(|(_, mode)| mode & 0o077 != 0)
        .collect()
}

async fn everything_in_it_is_its_owners_alone_whatever_the_umask(engine: Engine) {
    let dir = new_dir("open").join("data");
    let mut server = TestServer::on(engine)
        .data_dir(&dir)
        .with("KEYS__SIGNING", "")
        .with("ADMIN_TOKEN", "")
        .be()
        .await;
    let plain = server.command();
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 000; exec \"$0\" serve"])
        .arg(plain.get_program())
        .env_clear()
        .envs(
            plain
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = Process::start(&mut command, "KILL");
    server.adopt(process);
    server.wait_ready().await;
    server.wait_tables().await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(
        server.client().get(&mail.link_path(0)).await.status,
        404,
        "another key"
    );
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    server.wait_drained(Duration::from_secs(10)).await;
    assert_eq!(mode(&dir), 0o700);
    let names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in [
        "spool.db",
        "spool.db-wal",
        "spool.ballast",
        "links.db-shm",
        "signing.keys",
        "admin.token",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
    assert_eq!(open_files(&dir), []);
    server.terminate(Duration::from_secs(30)).await;

    // What an earlier version left open is closed, and told.
    for name in &names {
        let path = dir.join(name);
        if path.exists() {
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
    }
    server.start_again().await;
    assert_eq!(open_files(&dir), []);
    assert!(
        server.log().contains("other users could read this file"),
        "{}",
        server.log()
    );
    server.finish().await;
}

async fn no_second_server_gets_in_by_another_way(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let dir = server.data_dir();
    let link = new_dir("way").join("link");
    std::os::unix::fs::symlink(dir, &link).unwrap();
    for is_deleted in [false, true] {
        if is_deleted {
            std::fs::remove_file(dir.join("lock")).unwrap();
        }
        for way in [dir, &link] {
            let output = server
                .command()
                .arg("serve")
                .env("SILLAGE_LISTEN", format!("127.0.0.1:{}", free_port()))
                .env("SILLAGE_DATA_DIR", way)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            for part in [
                "another server uses it",
                "--data-dir",
                way.to_str().unwrap(),
            ] {
                assert!(said.contains(part), "{part:?} in {said}");
            }
        }
    }
    assert_eq!(server.client().get("/livez").await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_or_cut_token_is_an_error_that_says_what_to_do() {
    let mut server = TestServer::on(Engine::Sqlite)
        .with("ADMIN_TOKEN", "")
        .start()
        .await;
    server.terminate(Duration::from_secs(30)).await;
    let file = server.data_dir().join("admin.token");
    let whole = std::fs::read_to_string(&file).unwrap();
    for text in ["", "\n", &whole[..9]] {
        std::fs::write(&file, text).unwrap();
        let (code, said) = server.start_refused().await;
        assert_eq!(code, Some(1), "{said}");
        for part in ["admin.token", "Put the token back, or remove the file"] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
    std::fs::remove_file(&file).unwrap();
    server.start_again().await;
    assert_ne!(std::fs::read_to_string(&file).unwrap(), whole);
    server.finish().await;
}

on_both!(
    everything_in_it_is_its_owners_alone_whatever_the_umask,
    no_second_server_gets_in_by_another_way,
);
