//! The script in a real browser: pages on another origin than the server, with and without its
//! permission.

mod chrome;
mod clients;
mod console;
mod forms;
mod functions;
mod landing;
mod mautic;
mod site;

use std::time::Duration;

use serde_json::{Value, json};

use self::chrome::Browser;
use self::site::Site;
use crate::harness::{Db, Engine, TestServer, on_both};

const DRAINED: Duration = Duration::from_secs(20);
/// The usual call, with callbacks that write into the page's `told`.
const VIEW: &str = "mt('send','pageview',{},tell('view'));";

/// A server that lets the pages of an origin read its answers, and logs a line a request.
async fn start(engine: Engine, origins: &str) -> TestServer {
    TestServer::on(engine)
        .with("CORS__ORIGINS", origins)
        .with("LOG__LEVEL", "sillage=debug,info")
        .with("LOG__FORMAT", "json")
        .start()
        .await
}

/// How many requests with a method the server has answered.
fn requests(server: &TestServer, method: &str) -> usize {
    let wanted = format!("\"http.method\":\"{method}\"");
    server
        .log()
        .lines()
        .filter(|line| line.contains(&wanted))
        .count()
}

/// One column of every hit, in the order of storage.
async fn column(db: &Db, column: &str) -> Vec<Option<String>> {
    db.texts(&format!(
        "select cast({column} as text) from hits order by seq"
    ))
    .await
}

async fn only(db: &Db, name: &str) -> String {
    let values = column(db, name).await;
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].clone().unwrap_or_default()
}

async fn a_page_on_another_origin_tells_everything_without_a_preflight(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    let db = server.db();
    site.page(
        "/home",
        &server.url(),
        0,
        "",
        "<a id=\"go\" \
        href=\"/lamp?size=2&amp;utm_campaign=Lights&amp;utm_source=mail#top\">Lampe</a>",
    );
    site.page("/lamp", &server.url(), 1, VIEW, "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/home", site.near())).await;
    browser.click("#go").await;
    assert_eq!(browser.told(2).await, ["event POST", "view onload POST"]);

    let visitor = browser
        .run("return (/mtc_id=([^;]+)/.exec(document.cookie)||[])[1]")
        .await;
    assert_eq!(
        browser.run("return localStorage.getItem('mtc_id')").await,
        visitor,
        "on the site's own domain, twice"
    );
    assert!(
        browser
            .run("return localStorage.getItem('mautic_device_id')")
            .await
            .is_string()
    );
    server.wait_drained(DRAINED).await;
    let expected_visitor = visitor.as_str().unwrap().replace("v-", "").replace('-', "");
    let stored = db.texts(match engine {
        Engine::Sqlite => "select lower(hex(visitor_id)) from hits",
        Engine::Postgres => "select replace(visitor_id::text, '-', '') from hits",
    });
    assert_eq!(stored.await, [Some(expected_visitor)]);

    assert_eq!(
        only(db, "page_url").await,
        format!(
            "{}/lamp?size=2&utm_campaign=Lights&utm_source=mail#top",
            site.near()
        )
    );
    assert_eq!(
        only(db, "page_title").await,
        "Die Lampe \u{2013} f\u{fc}r 49,90 \u{20ac}"
    );
    assert_eq!(only(db, "page_language").await, "de");
    assert_eq!(only(db, "referrer").await, format!("{}/home", site.near()));
    assert_eq!(only(db, "utm_campaign").await, "Lights");
    assert_eq!(only(db, "utm_source").await, "mail");
    assert_eq!(only(db, "kind").await, "pageview");
    assert!(only(db, "user_agent").await.contains("Chrome/"));
    let extra: Value = serde_json::from_str(&only(db, "extra").await).unwrap();
    let in_page = browser
        .run(
            "return [screen.width+'x'+screen.height, \
            Intl.DateTimeFormat().resolvedOptions().timeZone, ''+new Date().getTimezoneOffset(), \
            navigator.platform]",
        )
        .await;
    for (index, name) in ["resolution", "timezone", "timezone_offset", "platform"]
        .iter()
        .enumerate()
    {
        assert_eq!(extra[name], in_page[index], "{name}");
    }
    assert_eq!(extra["counter"], "1");
    assert_eq!(extra["preferred_locale"], "de_DE");

    assert_eq!(
        (requests(&server, "POST"), requests(&server, "OPTIONS")),
        (1, 0)
    );
    browser.close().await;
    server.finish().await;
}

async fn behind_mautics_path_the_script_calls_what_is_below_it(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    // With the slash too many that such pages have.
    let mautic = format!("{}/mautic/", server.url());
    site.page("/lamp", &mautic, 1, VIEW, "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/lamp", site.near())).await;
    assert_eq!(browser.told(2).await, ["event POST", "view onload POST"]);
    let called = browser
        .run(
            "return performance.getEntriesByType('resource').map(function(e){return \
            e.name}).filter(function(n){return /event/.test(n)}).join()",
        )
        .await;
    assert_eq!(called, format!("{mautic}mtc/event"));
    server.wait_drained(DRAINED).await;
    assert_eq!(
        only(server.db(), "page_url").await,
        format!("{}/lamp", site.near())
    );
    browser.close().await;
    server.finish().await;
}

async fn without_permission_the_pixel_counts_once(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, "https://somebody.else.example").await;
    site.page("/lamp", &server.url(), 1, VIEW, "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/lamp", site.far())).await;
    assert_eq!(browser.told(2).await, ["event image", "view onload image"]);
    browser
        .run("mt('send','event',{event:'last'},tell('last'))")
        .await;
    assert_eq!(
        browser.told(4).await[2..],
        ["event image", "last onload image"]
    );
    server.wait_drained(DRAINED).await;
    assert_eq!(
        column(server.db(), "kind").await,
        [Some("pageview".to_owned()), Some("event".to_owned())]
    );
    assert_eq!(
        only_title(server.db()).await,
        "Die Lampe \u{2013} f\u{fc}r 49,90 \u{20ac}"
    );
    assert_eq!(requests(&server, "OPTIONS"), 0);
    browser.close().await;
    server.finish().await;
}

async fn only_title(db: &Db) -> String {
    column(db, "page_title").await.swap_remove(0).unwrap()
}

async fn a_snippet_included_twice_sends_once(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    site.page("/lamp", &server.url(), 2, VIEW, "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/lamp", site.near())).await;
    // Both callers are told; there is one delivery.
    assert_eq!(
        browser.told(3).await,
        ["event POST", "view onload POST", "view onload POST"]
    );
    browser
        .run("mt('send','event',{event:'last'},tell('last'))")
        .await;
    assert_eq!(
        browser.told(5).await[3..],
        ["event POST", "last onload POST"]
    );
    server.wait_drained(DRAINED).await;
    assert_eq!(
        column(server.db(), "kind").await,
        [Some("pageview".to_owned()), Some("event".to_owned())]
    );
    browser.close().await;
    server.finish().await;
}

async fn a_single_page_app_sends_its_routes_in_order(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    let queue =
        "for (var i = 0; i < 5; i++) mt('send','event',{event:'queued'+i},tell('queued'+i));";
    site.page("/app", &server.url(), 1, &format!("{VIEW}{queue}"), "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/app", site.near())).await;
    browser.told(12).await;
    for route in ["/app/a", "/app/b"] {
        browser.run(&format!("history.pushState(null,'','{route}');document.title='{route}';mt('send','pageview',{{}},tell('{route}'))")).await;
    }
    let told = browser.told(16).await;
    let loaded: Vec<&str> = told
        .iter()
        .filter_map(|line| line.strip_suffix(" onload POST"))
        .collect();
    assert_eq!(
        loaded,
        [
            "view", "queued0", "queued1", "queued2", "queued3", "queued4", "/app/a", "/app/b"
        ]
    );
    server.wait_drained(DRAINED).await;
    let text = |values: Vec<Option<String>>| {
        values
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    let db = server.db();
    assert_eq!(
        text(column(db, "event").await),
        [
            "", "queued0", "queued1", "queued2", "queued3", "queued4", "", ""
        ]
    );
    let at = |path: &str| format!("{}{path}", site.near());
    assert_eq!(
        text(column(db, "page_url").await)[5..],
        [at("/app"), at("/app/a"), at("/app/b")]
    );
    assert_eq!(
        text(column(db, "referrer").await)[6..],
        [at("/app"), at("/app/a")],
        "not stale"
    );
    assert_eq!(
        text(column(db, "page_title").await)[6..],
        ["/app/a", "/app/b"]
    );
    assert_eq!(
        db.number("select count(distinct visitor_id) from hits")
            .await,
        1
    );
    browser.close().await;
    server.finish().await;
}

async fn a_purchase_lands_with_its_money(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.far()).await;
    let db = server.db();
    let purchase = "mt('send','pageview',{revenue:'49.90',currency:'eur',order_id:'A-1',quantity:2,tags:'lamp,-prospect',color:'\u{fc}ber \u{1f4a1}'},tell('sale'));";
    site.page("/thanks", &server.url(), 1, purchase, "");
    let browser = Browser::start().await;
    browser
        .open(&format!(
            "{}/thanks?utm_medium=email&utm_campaign=Lights%20on",
            site.far()
        ))
        .await;
    assert_eq!(browser.told(2).await, ["event POST", "sale onload POST"]);
    server.wait_drained(DRAINED).await;
    let row = "select count(*) from hits where kind = 'transaction' and currency = 'EUR' and order_id = 'A-1' and quantity = 2
        and utm_medium = 'email' and utm_campaign = 'Lights on' and revenue = ";
    let amount = match engine {
        Engine::Sqlite => "499000",
        Engine::Postgres => "49.90",
    };
    assert_eq!(db.number(&format!("{row}{amount}")).await, 1);
    let tags = only(db, "tags").await;
    assert!(
        tags.contains("lamp") && tags.contains("-prospect"),
        "{tags}"
    );
    let extra: Value = serde_json::from_str(&only(db, "extra").await).unwrap();
    assert_eq!(extra["color"], "\u{fc}ber \u{1f4a1}");
    browser.close().await;
    server.finish().await;
}

async fn the_demo_shows_the_whole_way(engine: Engine) {
    let server = TestServer::on(engine).argument("--demo").start().await;
    let db = server.db();
    let browser = Browser::start().await;
    let mail = format!("{}/demo", server.url());
    crate::harness::wait_for("the mail has its links", 3 * DRAINED, async || {
        browser.open(&mail).await;
        let link = browser
            .run("return document.querySelector('a.button').pathname")
            .await;
        link.as_str().is_some_and(|path| path.starts_with("/r/"))
    })
    .await;
    browser.picture("demo-mail").await;
    browser.click("a.button").await;
    let rows = "document.querySelectorAll('#hits tr').length";
    browser.wait_until(&format!("{rows} == 1")).await;
    browser.click("#look").await;
    browser.wait_until(&format!("{rows} == 2")).await;
    browser.click("#buy").await;
    browser.wait_until(&format!("{rows} == 3")).await;
    browser.picture("demo-shop").await;
    let callbacks = browser
        .run(
            "return [].map.call(document.querySelectorAll('#hits \
        td:nth-child(2)'), function (cell) { return cell.textContent })",
        )
        .await;
    assert_eq!(callbacks, json!(["onload", "onload", "onload"]));
    server.wait_drained(DRAINED).await;
    for (kind, count) in [("click", 1), ("pageview", 2), ("transaction", 1)] {
        let row = format!(
            "select count(*) from hits where kind = '{kind}' and broadlog_id is not null and \
            contact_id is not null and delivery_id = 1"
        );
        assert_eq!(db.number(&row).await, count, "{kind}");
    }
    assert!(
        db.number("select count(*) from hits where kind = 'open' and delivery_id = 1")
            .await
            >= 1
    );
    browser.close().await;
    server.finish().await;
}

async fn the_script_is_small_and_cached(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut client = server.client();
    let gzip = [("accept-encoding", "gzip, br")];
    let script = client.get_with("/mtc.js", &gzip).await;
    assert_eq!(
        (script.status, script.header("content-encoding")),
        (200, "gzip")
    );
    assert!(
        script.body.len() <= 4_096,
        "{} bytes on the wire",
        script.body.len()
    );
    assert!(script.header("cache-control").contains("max-age="));
    assert!(script.header("vary").contains("Accept-Encoding"));
    let etag = script.header("etag").to_owned();
    for given in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"other\", {etag}"),
    ] {
        let again = client
            .get_with("/mtc.js", &[("if-none-match", &given)])
            .await;
        assert_eq!(
            (again.status, again.body.len(), again.header("etag")),
            (304, 0, etag.as_str())
        );
    }
    let other = client
        .get_with("/mtc.js", &[("if-none-match", "\"other\"")])
        .await;
    assert_eq!((other.status, other.header("content-encoding")), (200, ""));
    assert!(other.text().contains("/mtc/event"));
    server.finish().await;
}

on_both!(
    a_page_on_another_origin_tells_everything_without_a_preflight,
    behind_mautics_path_the_script_calls_what_is_below_it,
    without_permission_the_pixel_counts_once,
    a_snippet_included_twice_sends_once,
    a_single_page_app_sends_its_routes_in_order,
    a_purchase_lands_with_its_money,
    the_demo_shows_the_whole_way,
    the_script_is_small_and_cached,
);
