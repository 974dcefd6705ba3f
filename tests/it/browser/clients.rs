//! Other people's clients, as they were published, on pages of another origin than the server:
//! whoever moves here changes the address only.

use std::time::Duration;

use serde_json::{Value, json};

use super::chrome::{Browser, LOADING};
use super::site::Site;
use crate::harness::{
    Engine, Nginx, NpmPackage, TestServer, certificate, free_port, on_both, wait_for,
};

const MAUTIC_TRACKING: NpmPackage = NpmPackage {
    name: "mautic-tracking",
    version: "0.9.3",
    integrity: "sha512-EGGsTavWZAI1XnoyUMwmIZoar/rv+Foej2rj2DlpsYQx/LloMXydMSDXJCTaH9M18/aabI60zGSDg54KZt9e8g==",
};

const SMART_PIXEL: NpmPackage = NpmPackage {
    name: "@webtrekk-smart-pixel/core",
    version: "1.10.0",
    integrity: "sha512-KF7h1QObsLnrOvA7Gjxh5r48vx+iECUQn6bHifzofpno3vw6VSF3ZWvy3/EoSJ859uAshrzHtwxDEvyb5ZGGnw==",
};

const DRAINED: Duration = Duration::from_secs(20);
const TRACK_ID: &str = "111111111111111";
/// The pixel's script, and what the page does with it once it is there.
const PIXEL_PAGE: &str =
    "<script src=\"/smart-pixel.min.js\"></script><script>wtSmart.init.set(INIT);</script>";

/// All hits, as the API tells them, once there are so many.
async fn hits(server: &TestServer, count: usize) -> Vec<Value> {
    let mut hits = Vec::new();
    wait_for("the hits arrive", LOADING, async || {
        let answer = server.client().admin().get("/api/v1/hits").await;
        let mut lines: Vec<Value> = answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        // The last line is the cursor.
        lines.pop();
        hits = lines;
        hits.len() >= count
    })
    .await;
    server.wait_drained(DRAINED).await;
    assert_eq!(hits.len(), count, "{hits:#?}");
    hits
}

fn assert_values(hit: &Value, values: &[(&str, Value)]) {
    for (pointer, value) in values {
        let found = hit.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, value, "{pointer} of {hit:#}");
    }
}

async fn the_package_mautic_tracking_works_unchanged(engine: Engine) {
    let site = Site::start().await;
    let server = super::start(engine, &site.far()).await;
    site.file("/mautic-tracking.js", &MAUTIC_TRACKING.read("lib/index.js"));
    // A module for bundlers: `exports` is all that it asks for.
    let body = format!(
        "<script>var exports={{}}</script><script src=\"/mautic-tracking.js\"></script>\
         <script>var \
         mautic=exports['default'];mautic.initialize('{}/mtc.js');mautic.pageView({{custom:'options'}});</script>",
        server.url()
    );
    site.page("/lamp", &server.url(), 0, "", &body);
    let browser = Browser::start().await;
    let page = format!(
        "{}/lamp?utm_source=mail&utm_campaign=Lights#care",
        site.far()
    );
    browser.open(&page).await;
    assert_eq!(browser.told(1).await, ["event POST"]);
    browser
        .run("mautic.pageView({event:'video \u{25b6}',tags:'lamp,-prospect'})")
        .await;
    browser.told(2).await;
    browser
        .run(
            "mautic.pageView({revenue:'49.90',currency:'EUR',order_id:'A-1',quantity:2,email:'ada@example.com'})",
        )
        .await;
    browser.told(3).await;
    let hits = hits(&server, 3).await;
    assert_values(
        &hits[0],
        &[
            ("/kind", json!("pageview")),
            ("/page_url", json!(page)),
            (
                "/page_title",
                json!("Die Lampe \u{2013} f\u{fc}r 49,90 \u{20ac}"),
            ),
            ("/page_language", json!("de")),
            ("/utm_source", json!("mail")),
            ("/utm_campaign", json!("Lights")),
            ("/verdict", json!("human")),
            ("/extra/custom", json!("options")),
            ("/extra/preferred_locale", json!("de_DE")),
        ],
    );
    assert_values(
        &hits[1],
        &[
            ("/kind", json!("event")),
            ("/event", json!("video \u{25b6}")),
            ("/tags", json!(["lamp", "-prospect"])),
        ],
    );
    assert_values(
        &hits[2],
        &[
            ("/kind", json!("transaction")),
            ("/revenue", json!("49.9")),
            ("/currency", json!("EUR")),
            ("/order_id", json!("A-1")),
            ("/quantity", json!(2)),
            // The public may not set it here: kept, not believed.
            ("/extra/email", json!("ada@example.com")),
            ("/contact_id", Value::Null),
        ],
    );
    let visitor = &hits[0]["visitor_id"];
    assert!(visitor.is_string() && hits.iter().all(|hit| hit["visitor_id"] == *visitor));
    browser.close().await;
    server.finish().await;
}

/// nginx with a certificate in front of a server, as an operator has it.
async fn https_front(server: &TestServer) -> (Nginx, u16) {
    let port = free_port();
    let (certificate, key) = certificate();
    let config = format!(
        "server {{
           listen 127.0.0.1:{port} ssl;
           ssl_certificate {}; ssl_certificate_key {};
           location / {{
             proxy_pass http://{};
             proxy_http_version 1.1;
             proxy_set_header Connection \"\";
             proxy_set_header Host $host;
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
           }}
         }}",
        certificate.display(),
        key.display(),
        server.address()
    );
    (Nginx::start(&config, port).await, port)
}

/// A site whose page holds the pixel, configured by `init`.
async fn pixel_site(init: Value) -> Site {
    let site = Site::start().await;
    site.file(
        "/smart-pixel.min.js",
        &SMART_PIXEL.read("dist/smart-pixel.min.js"),
    );
    let body = PIXEL_PAGE.replace("INIT", &init.to_string());
    site.page("/shoes", "", 0, "", &body);
    site
}

/// What shops do with the pixel: a page, an event on it, an order with two products.
const PAGE: &str = "wtSmart.page.data.set({name:'de.schuhe, rot & gr\u{fc}n',search:'rote \
    schuhe',category:{1:'schuhe'},parameter:{1:'x;y'}});wtSmart.track();";
const EVENT: &str =
    "wtSmart.action.data.set({name:'video.play',parameter:{1:'trailer'}});wtSmart.trackAction();";
const ORDER: &str = "wtSmart.page.data.set({name:'checkout'});\
    wtSmart.customer.data.set({id:'24',email:'john@doe.com'});\
    wtSmart.product.confirmation.data.set([{id:'p1',cost:59.99,quantity:1},{id:'p2',cost:49.99,quantity:5}]);\
    wtSmart.order.data.set({value:360.93,id:'O-4711',currency:'EUR'});wtSmart.track();";

async fn send_all(browser: &Browser, server: &TestServer) -> Vec<Value> {
    for (index, script) in [PAGE, EVENT, ORDER].into_iter().enumerate() {
        browser.run(script).await;
        // One after the other, so that they are stored in this order.
        hits(server, index + 1).await;
    }
    hits(server, 3).await
}

fn assert_complete(hits: &[Value], page: &str) {
    for hit in hits {
        assert_values(
            hit,
            &[
                ("/dialect", json!("mapp")),
                ("/site", json!(TRACK_ID)),
                ("/page_url", json!(page)),
                ("/verdict", json!("human")),
                ("/visitor_id", hits[0]["visitor_id"].clone()),
            ],
        );
        assert!(hit["visitor_id"].is_string() && hit["user_agent"].is_string());
    }
    assert_values(
        &hits[0],
        &[
            ("/kind", json!("pageview")),
            ("/page_title", json!("de.schuhe, rot & gr\u{fc}n")),
            ("/extra/is", json!("rote schuhe")),
            ("/extra/cg1", json!("schuhe")),
            ("/extra/cp1", json!("x;y")),
        ],
    );
    assert_values(
        &hits[1],
        &[
            ("/kind", json!("event")),
            ("/event", json!("video.play")),
            ("/extra/ck1", json!("trailer")),
        ],
    );
    assert_values(
        &hits[2],
        &[
            ("/kind", json!("transaction")),
            ("/page_title", json!("checkout")),
            ("/revenue", json!("360.93")),
            ("/currency", json!("EUR")),
            ("/order_id", json!("O-4711")),
            ("/extra/products/0/id", json!("p1")),
            ("/extra/products/1/id", json!("p2")),
        ],
    );
}

async fn the_smart_pixel_works_unchanged(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let (_nginx, port) = https_front(&server).await;
    let init = json!({ "trackId": TRACK_ID, "trackDomain": format!("127.0.0.1:{port}") });
    let site = pixel_site(init).await;
    let browser = Browser::start().await;
    let page = format!("{}/shoes?wt_mc=news.1&q=a%20b", site.far());
    browser.open(&page).await;
    let hits = send_all(&browser, &server).await;
    assert_complete(&hits, &page);
    browser.close().await;
    server.finish().await;
}

/// `wt-kbo5pzrs?` with shuffled parameters, and the beacon's batch.
async fn the_smart_pixels_other_ways_work_too(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let (_nginx, port) = https_front(&server).await;
    let init = json!({ "trackId": TRACK_ID, "trackDomain": format!("127.0.0.1:{port}") });
    let site = pixel_site(init).await;
    let browser = Browser::start().await;
    let page = format!("{}/shoes", site.far());
    browser.open(&page).await;
    browser
        .run("wtSmart.advanced.add({requestObfuscation:true});")
        .await;
    let sent = send_all(&browser, &server).await;
    assert_complete(&sent, &page);
    browser
        .run("wtSmart.action.data.set({name:'leave'});wtSmart.trackAction({sendInstant:true,type:'beacon'});")
        .await;
    let sent = hits(&server, 4).await;
    assert_eq!(sent[3]["event"], "leave");
    browser.close().await;
    server.finish().await;
}

/// Variant 2 of the seed: the page and the relay of the documentation are one site, the server is
/// somewhere else.
async fn the_smart_pixel_works_through_the_relay(engine: Engine) {
    let server = TestServer::on(engine)
        .with(
            "MAPP__SECRETS",
            &format!("{TRACK_ID}:change-me-to-16-or-more"),
        )
        .with("MAPP__THIRD_PARTY_COOKIES", "true")
        .with("PUBLIC_URL", "https://t.example.com")
        .start()
        .await;
    let port = free_port();
    let init = json!({ "trackId": TRACK_ID, "trackDomain": format!("127.0.0.1:{port}") });
    let site = pixel_site(init).await;
    let config = crate::relay::documented_nginx(server.address(), port, free_port()).replace(
        "# location / { … your site … }",
        &format!("location / {{ proxy_pass {}; }}", site.near()),
    );
    let nginx = Nginx::start(&config, port).await;
    let browser = Browser::start().await;
    let page = format!("https://127.0.0.1:{port}/shoes");
    browser.open(&page).await;
    let hits = send_all(&browser, &server).await;
    assert_complete(&hits, &page);
    let cookies = browser.cookies().await;
    for name in ["wteid_", "wtsid_"] {
        let name = format!("{name}{TRACK_ID}");
        assert!(
            cookies.iter().any(|(had, _)| *had == name),
            "the tracker's {name} is back at the browser: {cookies:?}"
        );
    }
    assert!(!nginx.errors().contains("[error]"), "{}", nginx.errors());
    browser.close().await;
    server.finish().await;
}

on_both!(
    the_package_mautic_tracking_works_unchanged,
    the_smart_pixel_works_unchanged,
    the_smart_pixels_other_ways_work_too,
    the_smart_pixel_works_through_the_relay,
);
