//! Verdicts that change: by a person, by lists of today; figures follow, and `kill -9` in the
//! middle leaves them right.

use std::io::Write as _;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Campaign, Engine, Load, TestServer, on_both, wait_for};

const DRAINING: Duration = Duration::from_secs(60);

async fn run(server: &TestServer, arguments: &[&str]) -> Output {
    let mut command = server.command();
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn a_person_decides_whose_a_hit_is_and_that_holds(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 2).await;
    for message in [0, 1] {
        server.client().get(&mail.link_path(message)).await;
    }
    server.wait_drained(DRAINING).await;
    let mut api = server.client().admin();
    let page = api.get("/api/v1/hits").await.text();
    let hit: Value = serde_json::from_str(page.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&hit["verdict"], &hit["first_verdict"]),
        (&json!("human"), &Value::Null)
    );

    let path = format!("/api/v1/hits/{}/verdict", hit["id"].as_str().unwrap());
    let decision = json!({ "verdict": "bot", "reason": "our own monitor" });
    let answer = api.post_json(&path, &decision).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["verdict"], "bot");
    assert_eq!(told["first_verdict"], "human");
    assert_eq!(told["decision"]["reason"], "our own monitor");
    assert_eq!(told["decision"]["by"], "admin");
    let by_number = format!("/api/v1/hits/{}/verdict", hit["seq"]);
    assert_eq!(api.get(&by_number).await.json(), told);
    let report = api.get("/api/v1/deliveries/4711/report").await.json();
    assert_eq!(
        (&report["clicks"], &report["machine_hits"]["click"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(report["clicking_persons"], 1);
    server.recount().await;

    let judged = run(
        &server,
        &[
            "judge",
            "--from",
            "2020-01-01",
            "--to",
            "2100-01-01",
            "--write",
        ],
    );
    let judged = lines(&judged.await);
    assert_eq!(judged[0], json!({ "hits": 2, "decided": 1 }));
    assert_eq!(api.get(&path).await.json(), told);
    let nobody = api.get("/api/v1/hits/9999/verdict").await;
    assert_eq!(nobody.status, 404, "{}", nobody.text());
    server.finish().await;
}

async fn lists_of_today_judge_the_past_however_often_that_is_killed(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let load = Load::start("judging", server.address(), &mail, 8, Some(3_000));
    wait_for("hits enough to be killed between", DRAINING, async || {
        load.sent() > 2_000
    })
    .await;
    load.stop().await;
    server.wait_drained(DRAINING).await;
    let agents = server.data_dir().join("agents.txt");
    // Whoever sent the load calls itself something; all of it becomes a machine's.
    let agent = "select user_agent from hits where user_agent is not null limit 1";
    let agent = server.db().texts(agent).await.pop().flatten().unwrap();
    let mut file = std::fs::File::create(&agents).unwrap();
    writeln!(file, "bot {agent}").unwrap();
    let of_people = "select count(*) from hits where verdict in ('human', 'suspect')";
    let people = server.db().number(of_people).await;
    assert!(people > 500, "{people}");

    let judge = ["judge", "--from", "2020-01-01", "--to", "2100-01-01"];
    let with_list = |server: &TestServer, arguments: &[&str]| {
        let mut command = server.command();
        command
            .args(arguments)
            .env("SILLAGE_VERDICT__AGENTS", &agents);
        command
    };
    // Shown first, and nothing is written.
    let mut shown = with_list(&server, &judge);
    let shown = tokio::task::spawn_blocking(move || shown.output())
        .await
        .unwrap()
        .unwrap();
    let shown = lines(&shown);
    let changing: i64 = shown
        .iter()
        .filter(|line| line["to"] == "bot")
        .map(|line| line["hits"].as_i64().unwrap())
        .sum();
    assert_eq!(changing, people, "{shown:?}");
    assert_eq!(server.db().number(of_people).await, people);

    let writing = [&judge[..], &["--write"]].concat();
    for moment in [150, 350, 600] {
        let mut command = with_list(&server, &writing);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        server.recount().await;
    }
    // The server stores on meanwhile.
    server.kill().await;
    server.launch();
    server.wait_ready().await;
    server.client().get(&mail.link_path(0)).await;
    let mut command = with_list(&server, &writing);
    let done = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    lines(&done);
    server.wait_drained(DRAINING).await;
    server.recount().await;
    assert!(
        server.db().number(of_people).await <= 1,
        "but for what came meanwhile"
    );
    let first = "select count(*) from hits where first_verdict in ('human', 'suspect')";
    assert!(server.db().number(first).await >= people);
    server.finish().await;
}

on_both!(
    a_person_decides_whose_a_hit_is_and_that_holds,
    lists_of_today_judge_the_past_however_often_that_is_killed,
);
