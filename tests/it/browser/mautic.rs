//! What pages of a moved Mautic load and call.

use serde_json::json;

use super::chrome::Browser;
use super::site::Site;
use super::{DRAINED, VIEW, column, start};
use crate::harness::{Engine, on_both};

/// Two scripts instead of one since Mautic 7.2, and a slot of dynamic content, which asks a path that
/// is not ours with a header of its own.
async fn mautics_two_scripts_are_one_and_a_slot_hurts_nothing(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    let url = server.url();
    let scripts = format!(
        "<script>window.MauticTrackingObject='mt';mt=function(){{(mt.q=mt.q||[]).push(arguments)}};\
        {VIEW}</script><script src=\"{url}/index.php/mautic-essential.js\"></script>\
        <script src=\"{url}/mautic-tracking.js\"></script>"
    );
    site.page("/new", &url, 0, "", &scripts);
    let browser = Browser::start().await;
    browser.open(&format!("{}/new", site.near())).await;
    assert_eq!(browser.told(2).await, ["event POST", "view onload POST"]);
    let slot = format!(
        "fetch('{url}/dwc/offer', {{credentials: 'include', headers: {{'X-Requested-With': \
        'XMLHttpRequest'}}}}).then(a => told.push('slot ' + a.status), () => told.push('slot failed'))"
    );
    browser.run(&slot).await;
    assert_eq!(browser.told(3).await[2], "slot 404");
    let pushed = browser
        .run(
            "var heard = 0;
             document.addEventListener('eventAddedToMauticQueue', function (e) {
               if (MauticJS.ensureEventContext(e, 'send', 'event')) heard++;
             });
             mt.q.push(['send', 'event', {event: 'pushed'}, tell('pushed')]);
             MauticJS.insertStyle('data:text/css,');
             var styles = document.querySelectorAll('link[rel=stylesheet]').length;
             return [heard, MauticJS.getInput('send', 'pageview').length,
               /^[0-9a-f]{8}-[0-9a-f]{4}-4/.test(MauticJS.guid()), styles, MauticDomain,
               !!MauticJS.appendTrackedContact({}).mautic_device_id]",
        )
        .await;
    let domain = format!("{url}/index.php");
    assert_eq!(pushed, json!([1, 1, true, 1, domain, true]));
    assert_eq!(
        browser.told(5).await[3..],
        ["event POST", "pushed onload POST"]
    );
    server.wait_drained(DRAINED).await;
    let kinds = column(server.db(), "kind").await;
    assert_eq!(
        kinds,
        [Some("pageview".to_owned()), Some("event".to_owned())]
    );
    browser.close().await;
    server.finish().await;
}

on_both!(mautics_two_scripts_are_one_and_a_slot_hurts_nothing);
