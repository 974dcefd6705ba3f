//! Exports of hits one after the other: the API's stream, its cursor, and nothing twice.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use serde_json::json;

use super::{DRAINING, export, post_hits, run, start, try_export};
use crate::harness::{Engine, new_dir, on_both};

async fn an_export_of_hits_is_the_apis_stream(engine: Engine) {
    let mut server = start(engine).await;
    let mut api = server.client().admin();
    let hits = (0..2_300)
        .map(|n| {
            json!({
                "kind": if n % 3 == 0 { "transaction" } else { "event" },
                "event": format!("=cmd {n}, \"quoted\""),
                "delivery_id": 1 + n % 2,
                "revenue": "-5.25",
                "currency": "EUR",
                "contact": {"email": format!("p{}@export.example", n % 7)},
                "tags": ["-vip", "a"],
            })
        })
        .collect();
    post_hits(&mut api, hits).await;
    server.wait_drained(DRAINING).await;
    let person = api
        .get("/api/v1/contacts?email=p3@export.example")
        .await
        .json();
    let person = person["id"].as_str().unwrap();
    for (arguments, query) in [
        ("", "limit=1000000".to_owned()),
        ("--limit 31", "limit=31".to_owned()),
        (
            "--after 1200 --delivery 2",
            "after=1200&delivery_id=2&limit=9999".to_owned(),
        ),
        (
            "--kind transaction",
            "kind=transaction&limit=9999".to_owned(),
        ),
        (
            "--contact P3@export.example",
            format!("contact_id={person}&limit=9999"),
        ),
        (
            "--contact 01890000-0000-7000-8000-000000000000",
            "contact_id=01890000-0000-7000-8000-000000000000".to_owned(),
        ),
    ] {
        for format in ["ndjson", "csv"] {
            let exported = export(&server, &format!("hits --format {format} {arguments}"));
            let answer = api
                .get(&format!("/api/v1/hits?{query}&format={format}"))
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(exported.text, answer.text(), "{arguments} {format}");
        }
    }
    let all = export(&server, "hits");
    assert_eq!(all.lines().len(), 2_301);
    assert_eq!(all.lines()[2_300], json!({"cursor": "2300"}));
    // Whether a server runs makes no difference.
    assert_eq!(
        server.terminate(Duration::from_secs(30)).await,
        Some(0),
        "stopped"
    );
    assert_eq!(export(&server, "hits").text, all.text);
    server.start_again().await;
    server.finish().await;
}

/// Writers, and exports one after the other, each from the cursor of the one before.
async fn exports_skip_nothing_and_repeat_nothing_while_hits_arrive(engine: Engine) {
    const WRITERS: usize = 3;
    const REQUESTS: usize = 20;
    const HITS_A_REQUEST: usize = 40;
    let server = start(engine).await;
    let writing = futures_util::future::join_all((0..WRITERS).map(|writer| {
        let server = &server;
        async move {
            let mut api = server.client().admin();
            for request in 0..REQUESTS {
                let hits = (0..HITS_A_REQUEST)
                    .map(|hit| json!({"kind": "event", "event": format!("{writer}-{request}-{hit}")}))
                    .collect();
                post_hits(&mut api, hits).await;
                server.wait_stored(DRAINING).await;
            }
        }
    }));
    let (is_written, mut seen) = (std::cell::Cell::new(false), Vec::new());
    let mut exports_with_hits = 0;
    let reading = async {
        let mut cursor = "0".to_owned();
        loop {
            let is_last = is_written.get();
            let arguments = format!("hits --after {cursor} --limit 97");
            let mut command = server.command();
            command.arg("export").args(arguments.split_whitespace());
            let exported = tokio::task::spawn_blocking(move || run(&mut command))
                .await
                .unwrap();
            assert_eq!(exported.code, Some(0), "{}", exported.told);
            let mut lines = exported.lines();
            let next = lines.pop().unwrap()["cursor"].as_str().unwrap().to_owned();
            exports_with_hits += usize::from(!lines.is_empty());
            seen.extend(
                lines
                    .iter()
                    .map(|hit| hit["event"].as_str().unwrap().to_owned()),
            );
            let end = (WRITERS * REQUESTS * HITS_A_REQUEST) as i64;
            assert!(next.parse::<i64>().unwrap() <= end, "beyond what is stored");
            if is_last && next == cursor {
                break;
            }
            cursor = next;
        }
    };
    tokio::join!(
        async {
            writing.await;
            is_written.set(true);
        },
        reading
    );
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(seen.len(), distinct.len(), "nothing twice");
    assert_eq!(
        seen.len(),
        WRITERS * REQUESTS * HITS_A_REQUEST,
        "nothing skipped"
    );
    assert!(exports_with_hits > 10, "read while hits arrived");
    server.finish().await;
}

async fn an_export_keeps_its_cursor_in_a_file(engine: Engine) {
    let server = start(engine).await;
    let mut api = server.client().admin();
    let hits = |n: usize| {
        (0..n)
            .map(|n| json!({"kind": "event", "event": n.to_string()}))
            .collect()
    };
    let file = new_dir("cursor").join("hits.cursor");
    let export_new = || {
        export(
            &server,
            &format!("hits --format csv --cursor-file {}", file.display()),
        )
    };
    let kept = || std::fs::read_to_string(&file).unwrap();
    post_hits(&mut api, hits(3)).await;
    server.wait_drained(DRAINING).await;
    assert_eq!(export_new().text.lines().count(), 4);
    assert_eq!(kept(), "3\n");
    assert_eq!(export_new().text.lines().count(), 1, "nothing new");
    post_hits(&mut api, hits(2_000)).await;
    server.wait_drained(DRAINING).await;
    // Cut short by its reader it keeps the old cursor.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let cut = server
        .command()
        .args(["export", "hits", "--cursor-file"])
        .arg(&file)
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(cut.status.code(), Some(1));
    assert_eq!(kept(), "3\n");
    assert_eq!(export_new().text.lines().count(), 2_001);
    assert_eq!(kept(), "2003\n");
    let from_start = format!("hits --after 0 --limit 5 --cursor-file {}", file.display());
    assert_eq!(export(&server, &from_start).lines().len(), 6);
    assert_eq!(kept(), "5\n");
    assert_eq!(
        std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
        1,
        "no temporary file"
    );
    std::fs::write(&file, "# cursor=7").unwrap();
    let wrong = try_export(&server, &format!("hits --cursor-file {}", file.display()));
    assert_eq!(wrong.code, Some(2), "{}", wrong.told);
    assert!(wrong.told.contains("contains no cursor"), "{}", wrong.told);
    server.finish().await;
}

on_both!(
    an_export_of_hits_is_the_apis_stream,
    exports_skip_nothing_and_repeat_nothing_while_hits_arrive,
    an_export_keeps_its_cursor_in_a_file,
);
