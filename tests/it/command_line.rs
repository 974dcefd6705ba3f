//! Commands beside a server: in the wrong directory they make nothing and say what to do.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Engine, PostgresServer, TestServer, new_dir, on_both};

/// Every command that needs a database.
const COMMANDS: [&[&str]; 22] = [
    &["migrate"],
    &["delivery", "create", "--label", "x"],
    &[
        "link",
        "create",
        "https://shop.example/",
        "--public-url",
        "https://t.example",
    ],
    &["page-tag", "create", "x"],
    &["page-tag", "list"],
    &["import", "links", "-"],
    &["import", "mautic-contacts", "-"],
    &["export", "hits"],
    &["export", "contacts"],
    &["export", "deliveries"],
    &["export", "links", "--public-url", "https://t.example"],
    &["quarantine", "list"],
    &["quarantine", "retry", "--all"],
    &["keys", "list"],
    &["recount"],
    &["token", "create", "--name", "x", "--scope", "operate"],
    &["token", "list"],
    &["token", "revoke", "1"],
    &["user", "add", "x", "--role", "viewer", "--no-password"],
    &["user", "list"],
    &["user", "password", "x"],
    &["user", "remove", "x"],
];

fn run(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sillage"))
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied())
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn in_the_wrong_directory_no_command_makes_anything() {
    let dir = new_dir("wrong");
    let more: [&[&str]; 4] = [
        &["spool", "status"],
        &["spool", "inspect"],
        &["link", "create", "https://shop.example/"],
        &["keys", "give-up"],
    ];
    for arguments in COMMANDS.iter().chain(&more) {
        let (code, said, errors) = run(&dir, arguments, &[]);
        assert!(
            matches!(code, Some(1 | 2)),
            "{arguments:?}: {said} {errors}"
        );
        assert!(errors.contains("--data-dir"), "{arguments:?}: {errors}");
        // Whole, so that somebody sees that it is the wrong one.
        assert!(
            errors.contains(dir.to_str().unwrap()) || arguments[0] == "keys",
            "{arguments:?}: {errors}"
        );
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{arguments:?}");
    }
    let (code, _, errors) = run(&dir, &["migrate", "--create"], &[]);
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = run(&dir, &["delivery", "create", "--label", "x"], &[]);
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = run(&dir, &["link", "create", "https://shop.example/"], &[]);
    assert_eq!(code, Some(2), "nothing has served it: {errors}");
    assert!(errors.contains("--public-url"), "{errors}");
    assert!(!dir.join("data/signing.keys").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database_without_tables_no_command_makes_them() {
    let url = PostgresServer::new_shared_database().await;
    let dir = new_dir("empty");
    std::fs::create_dir(dir.join("data")).unwrap();
    for arguments in COMMANDS.iter().skip(1) {
        let (code, said, errors) = run(&dir, arguments, &[("DATABASE_URL", &url)]);
        assert_eq!(code, Some(2), "{arguments:?}: {said} {errors}");
        for part in ["no Sillage tables", "DATABASE_URL", "sillage migrate"] {
            assert!(errors.contains(part), "{arguments:?}: {errors}");
        }
    }
    let (code, _, errors) = run(&dir, &["migrate"], &[("DATABASE_URL", &url)]);
    assert_eq!(code, Some(0), "{errors}");
    let (code, _, errors) = run(&dir, &["page-tag", "list"], &[("DATABASE_URL", &url)]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(std::fs::read_dir(dir.join("data")).unwrap().count(), 0);
}

async fn a_links_host_is_what_the_server_said_last(engine: Engine) {
    let mut server = TestServer::on(engine)
        .with("PUBLIC_URL", "https://t.example/")
        .with("PATHS__REDIRECT", "/go")
        .start()
        .await;
    let elsewhere = new_dir("elsewhere");
    let data_dir = server.data_dir().to_str().unwrap().to_owned();
    let url = server.database_url().unwrap_or_default().to_owned();
    let create = |more: &[&str], env: &[(&str, &str)]| {
        let arguments = [&["link", "create", "https://shop.example/"], more].concat();
        let env = [&[("DATABASE_URL", url.as_str())], env].concat();
        run(&elsewhere, &arguments, &env)
    };
    let short_url = |text: &str| {
        let link: Value = serde_json::from_str(text).unwrap();
        link["short_url"].as_str().unwrap().to_owned()
    };
    let here = [("SILLAGE_DATA_DIR", data_dir.as_str())];
    for is_running in [true, false] {
        if !is_running {
            server.terminate(std::time::Duration::from_secs(30)).await;
        }
        let (code, text, errors) = create(&[], &here);
        assert_eq!(code, Some(0), "{errors}");
        assert!(
            short_url(&text).starts_with("https://t.example/go/"),
            "{text}"
        );
        let (code, text, errors) = create(&["--public-url", "https://new.example"], &here);
        assert_eq!(code, Some(0), "{errors}");
        assert!(
            short_url(&text).starts_with("https://new.example/r/"),
            "{text}"
        );
        let (code, text, errors) = run(
            &elsewhere,
            &["export", "links", "--data-dir", &data_dir],
            &[("DATABASE_URL", &url)],
        );
        assert_eq!(code, Some(0), "{errors}");
        assert!(text.contains("https://t.example/go/"), "{text}");
    }
    // Where nobody has served it the address is not guessed, and no link is made.
    let made = server.db().number("select count(*) from links").await;
    let (code, text, errors) = create(&[], &[]);
    assert_eq!((code, text.as_str()), (Some(2), ""), "{errors}");
    assert!(errors.contains("--public-url"), "{errors}");
    assert_eq!(server.db().number("select count(*) from links").await, made);
    server.start_again().await;
    server.finish().await;
}

on_both!(a_links_host_is_what_the_server_said_last);

#[test]
fn a_verdict_is_explained_with_the_entry_that_decided() {
    let dir = new_dir("verdict");
    let ask = |arguments: &[&str]| {
        let arguments = [&["verdict"], arguments].concat();
        let (code, out, err) = run(&dir, &arguments, &[]);
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let told = ask(&["--address", "40.107.218.12"]);
    assert_eq!(told["verdict"], "scanner");
    assert_eq!(told["reason"], "network of a mail scanner");
    assert_eq!(told["entry"]["network"], "40.107.0.0/16");
    let told = ask(&["--address", "40.107.218.12", "--kind", "pageview"]);
    assert_eq!(
        (&told["verdict"], &told["rule"]),
        (&"human".into(), &Value::Null)
    );
    let told = ask(&["--agent", "Mozilla/5.0 (compatible; Googlebot/2.1)"]);
    assert_eq!(
        (&told["verdict"], &told["entry"]["word"]),
        (&"bot".into(), &"bot>".into())
    );
    let told = ask(&["--agent", "", "--sent", "5s"]);
    assert_eq!(told["reason"], "no user agent");
    let told = ask(&["--header", "Sec-Purpose: prefetch"]);
    assert_eq!(
        (&told["verdict"], &told["counts"]),
        (&"prefetch".into(), &false.into())
    );
    let told = ask(&[
        "--kind",
        "open",
        "--agent",
        "YahooMailProxy; x",
        "--sent",
        "3s",
    ]);
    assert_eq!(told["reason"], "image proxy within seconds of sending");
    let (code, out, _) = run(&dir, &["verdict", "--rules"], &[]);
    assert_eq!((code, out.lines().count()), (Some(0), 17));
    for wrong in [
        ["--kind", "visit"],
        ["--address", "here"],
        ["--sent", "soon"],
        ["--header", "x"],
    ] {
        let (code, _, err) = run(&dir, &["verdict", wrong[0], wrong[1]], &[]);
        assert_eq!(code, Some(2), "{wrong:?}: {err}");
    }
    assert!(
        std::fs::read_dir(&dir).unwrap().next().is_none(),
        "makes nothing"
    );
}
