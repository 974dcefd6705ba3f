//! Who it was, told by the running server on both databases.

mod late;
mod strangers;
mod world;

use std::time::Duration;

use sillage::both;
use uuid::Uuid;

use crate::harness::{Campaign, Client, Db, Engine, TestServer, on_both};

const DRAINED: Duration = Duration::from_secs(10);

async fn visit(browser: &mut Client, page: &str) {
    visit_with(browser, page, "").await;
}

async fn visit_with(browser: &mut Client, page: &str, more: &str) {
    let path = format!("/mtracking.gif?page_url=https://shop.example/{page}{more}");
    assert_eq!(browser.get(&path).await.status, 200);
}

async fn click(browser: &mut Client, mail: &Campaign, message: usize) {
    assert_eq!(browser.get(&mail.link_path(message)).await.status, 302);
}

/// Contact of the page's last visit.
async fn contact_of(db: &Db, page: &str) -> Option<Uuid> {
    let url = format!("https://shop.example/{page}");
    both!(db.pool(), pool => sqlx::query_scalar("select contact_id from hits where page_url = $1 \
        order by seq desc limit 1")
        .bind(&url).fetch_one(pool).await)
    .unwrap()
}

/// Campaign and message of the page's last visit.
async fn message_of(db: &Db, page: &str) -> (Option<i64>, Option<i64>) {
    let url = format!("https://shop.example/{page}");
    both!(db.pool(), pool => sqlx::query_as("select delivery_id, broadlog_id from hits where \
        page_url = $1 order by seq desc limit 1")
        .bind(&url).fetch_one(pool).await)
    .unwrap()
}

async fn a_page_after_a_click_belongs_to_its_campaign_message_and_contact(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 2).await;
    let (broadlog, contact) = mail.messages[1];
    let mut reader = server.client();
    click(&mut reader, &mail, 1).await;
    visit(&mut reader, "in-session").await;
    // A new day: the session cookies are gone, the visitor's is there.
    reader.end_session();
    visit(&mut reader, "next-day").await;
    visit(&mut server.client(), "somebody").await;
    server.wait_drained(DRAINED).await;
    let db = server.db();
    assert_eq!(
        message_of(db, "in-session").await,
        (Some(mail.delivery), Some(broadlog))
    );
    assert_eq!(contact_of(db, "in-session").await, Some(contact));
    assert_eq!(message_of(db, "next-day").await, (None, None));
    assert_eq!(contact_of(db, "next-day").await, Some(contact));
    assert_eq!(contact_of(db, "somebody").await, None);
    assert_eq!(
        db.number("select count(*) from contacts").await,
        2,
        "an unknown visitor is no contact"
    );
    server.finish().await;
}

async fn the_history_of_an_unknown_visitor_is_completed_when_it_is_known(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut reader = server.client();
    visit(&mut reader, "first").await;
    visit(&mut reader, "second").await;
    let mut another = server.client();
    visit(&mut another, "of-another").await;
    // In the database before it is known who it was: an update, not the same batch.
    server.wait_drained(DRAINED).await;
    assert_eq!(contact_of(server.db(), "first").await, None);
    click(&mut reader, &mail, 0).await;
    server.wait_drained(DRAINED).await;
    let contact = Some(mail.messages[0].1);
    assert_eq!(contact_of(server.db(), "first").await, contact);
    assert_eq!(contact_of(server.db(), "second").await, contact);
    assert_eq!(contact_of(server.db(), "of-another").await, None);
    server.finish().await;
}

async fn a_shared_browser_is_the_last_one_who_was_named(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__PUBLIC", "email,firstname")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 2).await;
    let (first, second) = (mail.messages[0].1, mail.messages[1].1);
    let mut shared = server.client();
    click(&mut shared, &mail, 0).await;
    visit_with(&mut shared, "as-first", "&firstname=Ada").await;
    server.wait_drained(DRAINED).await;
    shared.end_session();
    visit_with(
        &mut shared,
        "as-second",
        "&email=reader1@example.com&firstname=Bo",
    )
    .await;
    visit(&mut shared, "still-second").await;
    visit_with(&mut shared, "as-third", "&email=third@example.com").await;
    server.wait_drained(DRAINED).await;
    let db = server.db();
    assert_eq!(
        contact_of(db, "as-first").await,
        Some(first),
        "the past stays whose it was"
    );
    assert_eq!(contact_of(db, "as-second").await, Some(second));
    assert_eq!(contact_of(db, "still-second").await, Some(second));
    let third = contact_of(db, "as-third").await.unwrap();
    assert!(third != first && third != second);
    let names = |id: Uuid| async move {
        let fields: sqlx::types::Json<serde_json::Value> = both!(db.pool(), pool => sqlx::query_scalar("select fields from contacts where id = $1")
            .bind(id).fetch_one(pool).await).unwrap();
        fields.0
    };
    assert_eq!(
        names(first).await,
        serde_json::json!({ "email": "reader0@example.com", "firstname": "Ada" })
    );
    assert_eq!(
        names(second).await,
        serde_json::json!({ "email": "reader1@example.com", "firstname": "Bo" })
    );
    assert_eq!(
        names(third).await,
        serde_json::json!({ "email": "third@example.com" })
    );
    server.finish().await;
}

async fn nobody_becomes_someone_by_an_address_that_the_public_may_not_name(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut forger = server.client();
    visit_with(&mut forger, "forged", "&email=reader0@example.com").await;
    // Cookies that nobody signed.
    forger
        .cookies
        .insert("broadlogId".into(), mail.messages[0].0.to_string());
    forger.cookies.insert(
        "deliveryId".into(),
        format!("{}.AAAAAAAAAAA", mail.delivery),
    );
    visit(&mut forger, "forged-cookies").await;
    server.wait_drained(DRAINED).await;
    for page in ["forged", "forged-cookies"] {
        assert_eq!(contact_of(server.db(), page).await, None, "{page}");
        assert_eq!(message_of(server.db(), page).await, (None, None), "{page}");
    }
    server.finish().await;
}

on_both!(
    a_page_after_a_click_belongs_to_its_campaign_message_and_contact,
    the_history_of_an_unknown_visitor_is_completed_when_it_is_known,
    a_shared_browser_is_the_last_one_who_was_named,
    nobody_becomes_someone_by_an_address_that_the_public_may_not_name,
);
