//! What sites call by hand: the script's functions, each with what it is to do.

use serde_json::json;

use super::chrome::Browser;
use super::site::Site;
use super::{DRAINED, column, start};
use crate::harness::{Engine, on_both};

async fn the_functions_that_sites_call_do_what_they_say(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    site.page("/quiet", &server.url(), 1, "", "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/quiet", site.near())).await;
    browser
        .wait_until("(window.MauticJS||0).sendPageview")
        .await;
    for (expression, expected) in [
        (
            "MauticJS.serialize({a: 1, 'b c': 'x y&\u{fc}'})",
            json!("a=1&b%20c=x%20y%26%C3%BC"),
        ),
        ("MauticJS.serialize('a=b')", json!("a=b")),
        ("MauticJS.parseTextToJSON('{\"a\":[1]}').a[0]", json!(1)),
        ("MauticJS.parseTextToJSON('no JSON')", json!("no JSON")),
        (
            "(function () { var all = []; MauticJS.iterateCollection(['a','b'])(function (v, i) { \
            all.push(v + i) }); return all })()",
            json!(["a0", "b1"]),
        ),
        (
            "(function () { var ran = 0; MauticJS.documentReady(function () { ran++ }); return \
            ran })()",
            json!(1),
        ),
        (
            "(function () { var said, log = console.log; console.log = function (x) { said = x }; \
            MauticJS.log('a', 1); console.log = log; return said })()",
            json!(["a", 1]),
        ),
        (
            "(function () { MauticJS.setCookie('probe', 'p1'); return \
            /probe=p1/.test(document.cookie) })()",
            json!(true),
        ),
        (
            "(function () { var x = MauticJS.createCORSRequest('GET', '/x'); return \
            [x.readyState, x.withCredentials] })()",
            json!([1, true]),
        ),
        (
            "(function () { MauticJS.setTrackedContact({}); return /mtc_id/.test(document.cookie) \
            })()",
            json!(false),
        ),
    ] {
        assert_eq!(
            browser.run(&format!("return {expression}")).await,
            expected,
            "{expression}"
        );
    }

    browser
        .run("MauticJS.insertScript('data:text/javascript,window.inserted=1')")
        .await;
    browser.wait_until("window.inserted").await;

    browser.run("MauticJS.getTrackedContact()").await;
    browser
        .wait_until("/mtc_id=v-[0-9a-f-]{36}/.test(document.cookie)")
        .await;
    assert_eq!(
        browser
            .run("return document.cookie.indexOf('mtc_id=' + localStorage.getItem('mtc_id')) >= 0")
            .await,
        json!(true)
    );
    let ask = |url: String| {
        format!(
            "window.asked = null; MauticJS.makeCORSRequest('GET', '{url}', {{a: 1}}, function (r, \
            x) {{ asked = ['ok', r, x.status] }}, function (r, x) {{ asked = ['fail', r, \
            x.status] }})"
        )
    };
    browser.run(&ask(format!("{}/mtc", server.url()))).await;
    browser
        .wait_until("asked && asked[0] == 'ok' && asked[2] == 200")
        .await;
    let (answered, kept) = (
        browser.run("return asked[1].id").await,
        browser.run("return localStorage.getItem('mtc_id')").await,
    );
    assert_eq!(answered, kept, "one browser");
    browser.run(&ask(format!("{}/nowhere", site.near()))).await;
    browser
        .wait_until("asked && asked[0] == 'fail' && asked[2] == 404")
        .await;

    browser
        .run(
            "window.order = [];
             MauticJS.beforeFirstEventDelivery(function (p) { order.push('before ' + p.page_title) });
             MauticJS.onFirstEventDelivery(function (d) { order.push('after ' + d.response.success) });
             document.addEventListener('mauticPageEventDelivered', function (e) { order.push('event ' + e.detail.event.join(' ')) });
             MauticJS.sendPageview(['send', 'pageview', { page_title: 'first' }])",
        )
        .await;
    browser.wait_until("order.length == 3").await;
    browser
        .run(
            "MauticJS.onFirstEventDelivery(function () { order.push('late') }); \
            MauticJS.sendPageview()",
        )
        .await;
    browser.wait_until("order.length == 5").await;
    assert_eq!(
        browser.run("return order").await,
        json!([
            "before first",
            "after 1",
            "event send pageview [object Object]",
            "late",
            "event send pageview"
        ])
    );
    browser
        .run("MauticJS.setTrackedContact({id: 'x-1', device_id: 'd-1'})")
        .await;
    assert_eq!(
        browser
            .run(
                "return [/mtc_id=x-1/.test(document.cookie), \
            localStorage.getItem('mautic_device_id')]"
            )
            .await,
        json!([true, "d-1"])
    );
    server.wait_drained(DRAINED).await;
    assert_eq!(
        column(server.db(), "page_title").await,
        [
            Some("first".to_owned()),
            Some("Die Lampe \u{2013} f\u{fc}r 49,90 \u{20ac}".to_owned())
        ]
    );
    browser.close().await;
    server.finish().await;
}

on_both!(the_functions_that_sites_call_do_what_they_say);
