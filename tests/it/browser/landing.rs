//! Pages that a mail leads to, on the server's own site and on another: what is done there belongs
//! to the mail.

use sillage::both;
use sillage::door::Clock;

use super::chrome::Browser;
use super::site::Site;
use super::{DRAINED, VIEW, column, start};
use crate::harness::{Campaign, Db, Engine, TestServer, on_both};

/// A mail whose link leads to a page of the site.
async fn mail_to(db: &Db, url: &str) -> Campaign {
    let mut mail = Campaign::make(db, 1).await;
    let now = Clock::system().now();
    mail.link = 816;
    both!(db.pool(), pool => sqlx::query(
        "insert into links (id, delivery_id, url, created_at, changed_at) values ($1, $2, $3, $4, \
        $4)",
    ).bind(mail.link).bind(mail.delivery).bind(url).bind(now).execute(pool).await.map(|_| ()))
    .unwrap();
    mail
}

const OF_THE_MAIL: &str = "select count(*) from hits where delivery_id = 4711 and broadlog_id = \
    1000 and contact_id is not null and kind = ";

async fn a_page_after_a_click_belongs_to_the_mail(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    let db = server.db();
    let mail = mail_to(db, &format!("{}/landing#care", site.near())).await;
    let link = format!("{}{}?via=mail", server.url(), mail.link_path(0));
    site.page(
        "/mail",
        &server.url(),
        0,
        "",
        &format!("<a id=\"go\" href=\"{link}\">Zur Lampe</a>"),
    );
    site.page("/landing", &server.url(), 1, VIEW, "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/mail", site.near())).await;
    browser.click("#go").await;
    assert_eq!(browser.told(2).await, ["event POST", "view onload POST"]);
    assert_eq!(
        browser.address().await,
        format!("{}/landing?via=mail#care", site.near())
    );
    browser
        .run("mt('send','pageview',{revenue:'10',currency:'EUR'},tell('sale'))")
        .await;
    browser.told(4).await;
    server.wait_drained(DRAINED).await;
    for kind in ["click", "pageview", "transaction"] {
        assert_eq!(
            db.number(&format!("{OF_THE_MAIL}'{kind}'")).await,
            1,
            "{kind}"
        );
    }
    assert_eq!(
        db.number("select count(distinct visitor_id) from hits")
            .await,
        1
    );
    browser.close().await;
    server.finish().await;
}

async fn a_landing_page_on_another_site_belongs_to_the_mail(engine: Engine) {
    let site = Site::start().await;
    let server = TestServer::on(engine)
        .with("CORS__ORIGINS", &site.far())
        .with("LINKS__LANDING_PARAMETER", "true")
        .start()
        .await;
    let db = server.db();
    let mail = mail_to(db, &format!("{}/landing?size=2#care", site.far())).await;
    let link = format!("{}{}", server.url(), mail.link_path(0));
    site.page(
        "/mail",
        &server.url(),
        0,
        "",
        &format!("<a id=\"go\" href=\"{link}\">Zur Lampe</a>"),
    );
    site.page(
        "/landing",
        &server.url(),
        1,
        VIEW,
        "<a id=\"next\" href=\"/next\">Weiter</a>",
    );
    site.page("/next", &server.url(), 1, VIEW, "");
    let browser = Browser::start().await;
    browser.open(&format!("{}/mail", site.far())).await;
    browser.click("#go").await;
    assert_eq!(browser.told(2).await, ["event POST", "view onload POST"]);
    let clean = format!("{}/landing?size=2#care", site.far());
    assert_eq!(
        browser.address().await,
        clean,
        "the parameter is gone from the address bar"
    );
    browser.click("#next").await;
    browser.wait_until("location.pathname == '/next'").await;
    browser.told(2).await;
    server.wait_drained(DRAINED).await;
    for kind in ["click", "pageview"] {
        assert_eq!(
            db.number(&format!("{OF_THE_MAIL}'{kind}'")).await,
            1,
            "{kind}"
        );
    }
    let urls = column(db, "page_url").await;
    assert_eq!(urls[1], Some(clean), "nor is it stored");
    assert_eq!(
        column(db, "referrer").await[2].as_deref(),
        Some(
            format!("{}/landing?size=2#care", site.far())
                .split('#')
                .next()
                .unwrap()
        )
    );
    assert_eq!(
        db.number("select count(*) from hits where contact_id is not null")
            .await,
        3,
        "the next page knows the visitor"
    );
    browser.close().await;
    server.finish().await;
}

on_both!(
    a_page_after_a_click_belongs_to_the_mail,
    a_landing_page_on_another_site_belongs_to_the_mail,
);
