//! The console as people see it: every page, wide and narrow, light and dark, with and without
//! scripts. Nothing is stopped by the policy, nothing is wider than the screen, nothing is asked
//! for that would count a hit, and axe-core finds nothing to complain about.

use std::time::Duration;

use serde_json::Value;

use super::chrome::Browser;
use crate::console::{every_page, full_server, start};
use crate::harness::{ADMIN_TOKEN, Engine, NpmPackage, TestServer, on_both, wait_for};

const AXE: NpmPackage = NpmPackage {
    name: "axe-core",
    version: "4.14.1",
    integrity: "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
};

const DRAINED: Duration = Duration::from_secs(20);
/// Addresses of what the page has loaded.
const LOADED: &str = "return performance.getEntriesByType('resource').map(e => e.name)";

async fn sign_in(browser: &Browser, base: &str) {
    browser.open(&format!("{base}/console/")).await;
    browser.fill("[name=token]", ADMIN_TOKEN).await;
    browser.click("form:has([name=token]) button").await;
    browser
        .wait_until("document.querySelector('form.who')")
        .await;
}

/// What is wrong with the page before the browser.
async fn faults(browser: &Browser, base: &str) -> Vec<String> {
    let mut faults = browser.complaints().await;
    let width = browser
        .run("return [document.documentElement.scrollWidth, innerWidth]")
        .await;
    if width[0].as_i64() > width[1].as_i64() {
        faults.push(format!("wider than the screen: {width}"));
    }
    let loaded = browser.run(LOADED).await;
    for address in loaded.as_array().unwrap() {
        let address = address.as_str().unwrap();
        if !address.starts_with(&format!("{base}/console/")) {
            faults.push(format!("asks for {address}"));
        }
    }
    faults
}

/// What axe-core finds.
async fn ask_axe(browser: &Browser, axe: &str) -> Vec<String> {
    let run = "return axe.run(document, { preload: false }).then(found => found.violations\
        .map(v => v.id + ' ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))";
    let found = browser.run(&format!("{axe}; {run}")).await;
    let found = found.as_array().into_iter().flatten();
    found.filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn every_page_is_whole_for_everybody(engine: Engine) {
    let (server, console, mail) = full_server(engine).await;
    let base = format!("http://{console}");
    let hits = server.db().hits().await;
    let axe = AXE.read("axe.min.js");
    let browser = Browser::start().await;
    let mut wrong: Vec<String> = Vec::new();
    browser.look(1_440, "light").await;
    browser.open(&format!("{base}/console/sign-in")).await;
    browser.picture("sign-in").await;
    sign_in(&browser, &base).await;
    browser.complaints().await;
    let pages = every_page(&server, &mail).await;
    for (width, scheme, scripts) in [
        (1_440, "light", true),
        (1_440, "dark", true),
        (360, "light", true),
        (360, "dark", true),
        (1_440, "light", false),
        (360, "dark", false),
    ] {
        browser.look(width, scheme).await;
        browser.allow_scripts(scripts).await;
        for (number, page) in pages.iter().enumerate() {
            browser.open(&format!("{base}{page}")).await;
            let mut found = faults(&browser, &base).await;
            if scripts {
                browser.picture(&format!("{number}-{width}-{scheme}")).await;
                // It waits for itself, so it needs scripts.
                found.extend(ask_axe(&browser, &axe).await);
            }
            let place = format!("{page} {width} {scheme}");
            wrong.extend(found.into_iter().map(|fault| format!("{place}: {fault}")));
        }
    }
    browser.allow_scripts(true).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    browser.close().await;
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, hits, "looking makes no hits");
    server.finish().await;
}

/// From the start with `--demo`: the printed address, the token, and there is the click.
async fn a_stranger_sees_the_click_just_made(engine: Engine) {
    let setup = TestServer::on(engine).argument("--demo");
    let (server, console) = start(setup).await;
    wait_for("the demo is told", 3 * DRAINED, async || {
        server.log().contains("What came of the click")
    })
    .await;
    server.wait_drained(3 * DRAINED).await;
    let log = server.log();
    let link = log
        .lines()
        .map(str::trim)
        .find(|line| line.contains("/r/"))
        .unwrap();
    let (_, address) = log.split_once("with the API token: ").unwrap();
    let address = address.lines().next().unwrap();
    assert_eq!(address, format!("{}/console/hits", server.url()));
    let browser = Browser::start().await;
    browser.open(link).await;
    server.wait_drained(DRAINED).await;

    browser.open(address).await;
    browser.fill("[name=token]", ADMIN_TOKEN).await;
    // The first click.
    browser.click("form:has([name=token]) button").await;
    browser
        .wait_until("document.querySelector('table.hits')")
        .await;
    let top = "document.querySelector('table.hits tbody').textContent";
    browser
        .wait_until(&format!("{top}.includes('reader@quai9.example')"))
        .await;
    browser.picture("demo-hits").await;
    // What is stored from now on comes by itself.
    let rows = browser
        .run("return document.querySelectorAll('.fresh').length")
        .await;
    assert_eq!(rows, 0);
    browser
        .wait_until("document.querySelector('[data-state] span').textContent.startsWith('Live')")
        .await;
    assert_eq!(
        server
            .client()
            .get(
                link.rsplit_once("/r/")
                    .map(|(_, id)| format!("/r/{id}"))
                    .unwrap()
                    .as_str()
            )
            .await
            .status,
        302
    );
    browser.wait_until("document.querySelector('.fresh')").await;
    browser.open(&format!("http://{console}/console/")).await;
    browser.picture("demo-deliveries").await;
    browser.close().await;
    server.finish().await;
}

on_both!(
    every_page_is_whole_for_everybody,
    a_stranger_sees_the_click_just_made
);
