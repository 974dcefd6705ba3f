//! Keys that links were signed with: never lost, replaced or mixed in silence.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Client, Engine, PostgresServer, SIGNING_KEY, TestServer, new_dir, on_both, wait_for,
};

const OTHER_KEY: &str = "2:fedcba9876543210fedcba9876543210";

/// Path of a signed link, made through the API.
async fn signed_link(server: &TestServer, api: &mut Client) -> String {
    let made = api
        .post_json("/api/v1/deliveries", &json!({"label": "x"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/api/v1/deliveries/{}", made.json()["id"]);
    let link = json!({"url": "https://shop.example/"});
    let made = api.post_json(&format!("{path}/links"), &link).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let line = "{\"contact\":{\"email\":\"ada@x.example\"}}";
    let ndjson = "application/x-ndjson";
    let answer = api.post(&format!("{path}/messages"), ndjson, line).await;
    let message: Value = serde_json::from_str(&answer.text()).unwrap();
    let links = message["links"].as_object().unwrap();
    let url = links.values().next().unwrap().as_str().unwrap();
    url.strip_prefix(&server.url()).unwrap().to_owned()
}

async fn wait_keys(server: &TestServer, word: &str) {
    wait_for(word, Duration::from_secs(20), async || {
        server.readiness().await["keys"] == word
    })
    .await;
}

/// Runs a command beside the server: exit code and all that it said.
fn run(server: &TestServer, arguments: &[&str]) -> (Option<i32>, String) {
    let output = server.command().args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

async fn lost_or_changed_keys_refuse_the_start_and_say_the_way_out(engine: Engine) {
    let mut server = TestServer::on(engine)
        .with("KEYS__SIGNING", "")
        .start()
        .await;
    let link = signed_link(&server, &mut server.client().admin()).await;
    assert_eq!(server.client().get(&link).await.status, 302);
    wait_keys(&server, "ok").await;
    server.wait_drained(Duration::from_secs(10)).await;
    let file = server.data_dir().join("signing.keys");
    let whole = std::fs::read_to_string(&file).unwrap();
    server.terminate(Duration::from_secs(30)).await;

    let other = "1:another-secret-of-more-than-32-characters\n";
    for (what, text, part) in [
        ("gone", None, "signing.keys is missing"),
        ("empty", Some(""), "signing.keys is empty"),
        ("cut", Some(&whole[..20]), "signing.keys cannot be used"),
        (
            "cut, and long enough",
            Some(&whole[..36]),
            "signing.keys lacks key 1 (",
        ),
        ("another", Some(other), "signing.keys lacks key 1 ("),
        (
            "a new number",
            Some(OTHER_KEY),
            "signing.keys lacks key 1 (",
        ),
    ] {
        match text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let (code, said) = server.start_refused().await;
        assert_eq!(code, Some(1), "{what}: {said}");
        for part in [part, "404", "keys give-up"] {
            let has_way_out = !["empty", "cut"].contains(&what) || part.starts_with("signing");
            assert!(
                !has_way_out || said.contains(part),
                "{what}: {part:?} in {said}"
            );
        }
        let left = std::fs::read_to_string(&file).ok();
        assert_eq!(
            left.as_deref(),
            text,
            "{what}: nothing is made in its place"
        );
    }

    std::fs::write(&file, &whole).unwrap();
    server.start_again().await;
    assert_eq!(server.client().get(&link).await.status, 302);
    server.wait_drained(Duration::from_secs(10)).await;
    server.terminate(Duration::from_secs(30)).await;

    // A new key on top: no ceremony, then and later.
    std::fs::write(&file, format!("{OTHER_KEY}\n{whole}")).unwrap();
    for _ in 0..2 {
        server.start_again().await;
        wait_keys(&server, "ok").await;
        assert_eq!(server.client().get(&link).await.status, 302);
        server.wait_drained(Duration::from_secs(10)).await;
        server.terminate(Duration::from_secs(30)).await;
    }

    // The old one is lost for good.
    std::fs::write(&file, OTHER_KEY).unwrap();
    assert_eq!(server.start_refused().await.0, Some(1));
    let (code, said) = run(&server, &["keys", "give-up"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"number\":1"), "{said}");
    server.start_again().await;
    wait_keys(&server, "ok").await;
    assert_eq!(server.client().get(&link).await.status, 404);
    let (code, said) = run(&server, &["keys", "list"]);
    assert_eq!(code, Some(0), "{said}");
    let listed: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = listed
        .iter()
        .map(|key| {
            (
                key["number"].as_i64(),
                key["here"].as_bool(),
                key["given_up_at"].is_null(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(Some(1), Some(false), false), (Some(2), Some(true), true)]
    );
    server.finish().await;
}

/// What an earlier version left: no note, no fingerprints.
async fn lost_keys_of_an_earlier_version_refuse_the_start_too(engine: Engine) {
    let mut server = TestServer::on(engine)
        .with("KEYS__SIGNING", "")
        .start()
        .await;
    let link = signed_link(&server, &mut server.client().admin()).await;
    assert_eq!(server.client().get(&link).await.status, 302);
    wait_keys(&server, "ok").await;
    server.wait_drained(Duration::from_secs(10)).await;
    server.terminate(Duration::from_secs(30)).await;
    let sql = "delete from signing_keys";
    server.db().execute(sql, sql).await;
    let dir = server.data_dir().to_owned();
    std::fs::remove_file(dir.join("server.json")).unwrap();
    let file = dir.join("signing.keys");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();

    let (code, said) = server.start_refused().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("missing, but there is a spool"), "{said}");
    // Also where the spool is gone with them.
    let spool = std::fs::read(dir.join("spool.db")).unwrap();
    std::fs::remove_file(dir.join("spool.db")).unwrap();
    let (code, said) = server.start_refused().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("has stored hits in this database before"),
        "{said}"
    );
    assert!(!file.exists() && !dir.join("spool.db").exists());

    std::fs::write(dir.join("spool.db"), spool).unwrap();
    std::fs::write(&file, whole).unwrap();
    server.start_again().await;
    assert_eq!(server.client().get(&link).await.status, 302);
    server.wait_drained(Duration::from_secs(10)).await;
    server.terminate(Duration::from_secs(30)).await;
    std::fs::remove_file(&file).unwrap();
    let (code, said) = run(&server, &["keys", "give-up"]);
    assert_eq!(code, Some(0), "{said}");
    server.start_again().await;
    assert_eq!(server.client().get(&link).await.status, 404);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_server_that_has_not_the_keys_of_the_others_is_refused() {
    let url = PostgresServer::new_shared_database().await;
    let set_up = || {
        TestServer::on(Engine::Postgres)
            .database(&url)
            .with("KEYS__SIGNING", "")
    };
    let one = set_up().start().await;
    wait_keys(&one, "ok").await;
    let dir = new_dir("further");
    let mut further = set_up().data_dir(&dir).be().await;
    let (code, said) = further.start_refused().await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "signing.keys is missing",
        "key 1 (",
        "every server needs the same keys",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    assert!(!dir.join("signing.keys").exists());

    std::fs::write(
        dir.join("signing.keys"),
        "1:a-secret-of-its-own-of-40-characters-1234",
    )
    .unwrap();
    let (code, said) = further.start_refused().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("signing.keys lacks key 1 ("), "{said}");

    std::fs::copy(
        one.data_dir().join("signing.keys"),
        dir.join("signing.keys"),
    )
    .unwrap();
    further.start_again().await;
    wait_keys(&further, "ok").await;
    assert_eq!(one.readiness().await["keys"], "ok");
    one.finish().await;
    further.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_configured_keys_of_its_own_is_told_by_all() {
    let url = PostgresServer::new_shared_database().await;
    let set_up = |keys: &str| {
        TestServer::on(Engine::Postgres)
            .database(&url)
            .with("KEYS__SIGNING", keys)
    };
    let one = set_up(SIGNING_KEY).start().await;
    wait_keys(&one, "ok").await;
    // Rotation: last everywhere, then first on one after the other.
    let both = format!("{SIGNING_KEY},{OTHER_KEY}");
    let turned = format!("{OTHER_KEY},{SIGNING_KEY}");
    let second = set_up(&both).start().await;
    wait_keys(&second, "ok").await;
    let mut third = set_up(&turned).start().await;
    wait_keys(&third, "ok").await;
    // The one that was forgotten answers 404 to the third one's links from now on.
    wait_keys(&one, "lacking").await;
    assert_eq!(second.readiness().await["keys"], "ok");
    assert_eq!(one.metric("sillage_keys_lacking").await, 1.0);
    assert!(
        one.log().contains("does not have all keys"),
        "{}",
        one.log()
    );
    assert_eq!(
        one.client().get("/readyz").await.status,
        200,
        "hits can be taken"
    );
    let link = signed_link(&third, &mut third.client().admin()).await;
    assert_eq!(one.client().get(&link).await.status, 404);
    assert_eq!(third.client().get(&link).await.status, 302);
    third.wait_drained(Duration::from_secs(10)).await;
    assert_eq!(third.terminate(Duration::from_secs(30)).await, Some(0));

    let stranger = "3:a-third-secret-of-more-than-32-characters";
    let stranger = set_up(stranger).start().await;
    wait_keys(&stranger, "lacking").await;
    wait_keys(&second, "lacking").await;
    assert_eq!(stranger.metric("sillage_keys_lacking").await, 2.0);
    stranger.finish().await;
    let (code, said) = run(&second, &["keys", "give-up"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"number\":3"), "{said}");
    wait_keys(&second, "ok").await;
    assert_eq!(
        one.readiness().await["keys"],
        "lacking",
        "of the second key"
    );
    one.finish().await;
    second.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_down_the_directory_decides_about_the_keys() {
    let mut postgres = PostgresServer::start().await;
    let url = postgres.new_database().await;
    let mut server = TestServer::on(Engine::Postgres)
        .database(&url)
        .with("KEYS__SIGNING", "")
        .start()
        .await;
    wait_keys(&server, "ok").await;
    server.terminate(Duration::from_secs(30)).await;
    postgres.kill().await;
    let file = server.data_dir().join("signing.keys");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let (code, said) = server.start_refused().await;
    assert_eq!(code, Some(1), "{said}");
    std::fs::write(&file, whole).unwrap();
    server.start_again().await;
    assert_eq!(server.readiness().await["keys"], "unchecked");
    // A further server begins its life without the others: it cannot know better, and says so when
    // it does.
    let further = TestServer::on(Engine::Postgres)
        .database(&url)
        .with("KEYS__SIGNING", "")
        .start_without_database()
        .await;
    assert_eq!(further.readiness().await["keys"], "unchecked");
    postgres.start_again().await;
    wait_keys(&further, "lacking").await;
    wait_keys(&server, "lacking").await;
    further.finish().await;
    server.finish().await;
}

/// The operator's keys are the operator's: told, and served.
async fn a_key_taken_out_of_the_configuration_is_told(engine: Engine) {
    let dir = new_dir("data");
    let url = match engine {
        Engine::Postgres => PostgresServer::new_shared_database().await,
        Engine::Sqlite => String::new(),
    };
    let set_up = |keys: &str| {
        TestServer::on(engine)
            .database(&url)
            .data_dir(&dir)
            .with("KEYS__SIGNING", keys)
    };
    let server = set_up(SIGNING_KEY).start().await;
    wait_keys(&server, "ok").await;
    server.finish().await;
    let server = set_up(OTHER_KEY).start().await;
    wait_keys(&server, "lacking").await;
    assert!(
        server.log().contains("does not have all keys"),
        "{}",
        server.log()
    );
    let (code, said) = run(&server, &["keys", "give-up"]);
    assert_eq!(code, Some(0), "{said}");
    wait_keys(&server, "ok").await;
    server.finish().await;
    let server = set_up(OTHER_KEY).start().await;
    wait_keys(&server, "ok").await;
    assert!(
        !server.log().contains("does not have all keys"),
        "{}",
        server.log()
    );
    server.finish().await;
}

on_both!(
    lost_or_changed_keys_refuse_the_start_and_say_the_way_out,
    lost_keys_of_an_earlier_version_refuse_the_start_too,
    a_key_taken_out_of_the_configuration_is_told,
);
