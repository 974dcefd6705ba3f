//! People, and the messages that were sent to them.

use std::time::Duration;

use serde_json::json;

use super::{import, import_twice};
use crate::harness::{Engine, TestServer, on_both};

async fn mautics_people_and_messages_come_once(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__UNIQUE", r#"["email", "mautic_id"]"#)
        .start()
        .await;
    let contacts = "id\tfirstname\temail\tcity\tis_published\ttags\n\
        42\tRenée\tNew@Example.com\tNULL\t1\tvip|news\n\
        43\t\"=cmd()\"\tother@example.com\tLyon\t1\t\n\
        44\tNobody\tNULL\tParis\t1\t\n";
    let done = import_twice(&server, "mautic-contacts", contacts);
    assert_eq!((done.code, done.counts()), (Some(0), [3, 0, 0, 0, 0]));
    let mut admin = server.client().admin();
    let found = admin
        .get("/api/v1/contacts?email=new@example.com")
        .await
        .json();
    assert_eq!(found["fields"]["firstname"], "Renée");
    assert_eq!(found["fields"]["mautic_id"], "42");
    assert_eq!(found["tags"], json!(["vip", "news"]));
    assert_eq!(found["fields"].get("is_published"), None);

    let stats = "id,email_id,lead_id,email_address,tracking_hash,date_sent,is_read,is_failed\n\
        1,3,42,old@example.com,5f0c1a2b3c4d5,2026-10-01 07:00:00,1,0\n\
        2,3,43,other@example.com,5f0c1a2b3c4d6,2026-10-01 07:00:01,0,0\n\
        3,3,,third@example.com,5f0c1a2b3c4d7,2026-10-01 07:00:02,0,0\n\
        4,3,45,failed@example.com,5f0c1a2b3c4d8,2026-10-01 07:00:02,0,1\n\
        5,NULL,42,old@example.com,5f0c1a2b3c4d9,2026-10-01 07:00:03,0,0\n\
        6,3,42,new@example.com,5f0c1a2b3c4d5,2026-10-01 07:00:00,0,0\n\
        7,4,42,new@example.com,5f0c1a2b3c4d5,2026-10-01 07:00:00,0,0\n";
    let done = import(&server, "mautic-email-stats", stats);
    assert_eq!(done.counts(), [3, 0, 1, 1, 2], "{}", done.told);
    assert_eq!(done.tally["deliveries_made"], 1);
    let again = import(&server, "mautic-email-stats", stats);
    assert_eq!(again.counts(), [0, 0, 4, 1, 2]);
    let db = server.db();
    assert_eq!(db.number("select count(*) from broadlogs").await, 3);
    let sql = "select messages from deliveries where id = 3 and label = 'Mautic e-mail 3'";
    assert_eq!(db.number(sql).await, 3);
    // Known by its number, the contact keeps the address of today.
    let sql = "select count(*) from message_keys k join broadlogs b on b.id = k.broadlog_id join contact_keys c on c.contact_id = b.contact_id
               where k.key = 'mautic:5f0c1a2b3c4d5' and c.field = 'email' and c.value = 'new@example.com'";
    assert_eq!(db.number(sql).await, 1);
    // The mail is opened now.
    let open = server.client().get("/email/5f0c1a2b3c4d5.gif").await;
    assert_eq!(open.status, 200);
    server.wait_drained(Duration::from_secs(10)).await;
    let sql = "select count(*) from hits h join contact_keys c on c.contact_id = h.contact_id
               where h.kind = 'open' and h.delivery_id = 3 and c.value = 'new@example.com'";
    assert_eq!(db.number(sql).await, 1);
    // A row that names two people makes one of nobody.
    let done = import(
        &server,
        "mautic-contacts",
        "id,email\n42,other@example.com\n",
    );
    assert_eq!(done.counts(), [0, 0, 0, 0, 1]);
    assert!(done.told.contains("more than one contact"), "{}", done.told);
    server.finish().await;
}

async fn a_placeholder_in_a_unique_field_is_a_refused_row(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let contacts = "id,email,firstname\n\
        1,undefined,A\n\
        2,{contactfield=email},B\n\
        3,not-an-email,C\n\
        4,ada@example.com,Ada\n";
    let done = import_twice(&server, "mautic-contacts", contacts);
    assert_eq!(done.counts(), [1, 0, 0, 0, 3], "{}", done.told);
    assert!(
        done.told
            .contains("row 2: email \"undefined\" is not an email address"),
        "{}",
        done.told
    );
    let stats = "email_id,email_address,tracking_hash\n3,undefined,5f0c1a2b3c4e1\n3,ADA@example.com,5f0c1a2b3c4e2\n";
    let done = import_twice(&server, "mautic-email-stats", stats);
    assert_eq!(done.counts(), [1, 0, 0, 0, 1], "{}", done.told);
    let logs = "iBroadLogId,iDeliveryId,sAddress\n7,9,%EMAIL%\n8,9,null\n9,9,ada@example.com\n";
    let done = import_twice(&server, "adobe-broadlogs", logs);
    assert_eq!(done.counts(), [1, 0, 0, 0, 2], "{}", done.told);
    assert_eq!(server.db().number("select count(*) from contacts").await, 1);
    server.finish().await;
}

async fn adobes_messages_are_found_by_number_and_by_uuid(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let rows = "iBroadLogId,sUuid,iDeliveryId,sAddress,tsEvent\n\
        6387601,,7470014,a@example.com,2026-11-01 08:00:00\n\
        -5,3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70,7470014,b@example.com,\n\
        71ea0e1f-9f7c-4c55-9a0f-2f1f0a3c9d11,,7470014,c@example.com,\n\
        6387602,,7470014,,\n";
    let done = import_twice(&server, "adobe-broadlogs", rows);
    assert_eq!(done.counts(), [3, 0, 0, 0, 1], "{}", done.told);
    let db = server.db();
    let sql = "select k.key from message_keys k join broadlogs b on b.id = k.broadlog_id and \
        b.delivery_id = 7470014 order by k.key";
    assert_eq!(
        db.texts(sql).await,
        [
            Some("adobe:3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70".to_owned()),
            Some("adobe:71ea0e1f-9f7c-4c55-9a0f-2f1f0a3c9d11".to_owned()),
        ]
    );
    let sql = "select count(*) from broadlogs where id in (6387601, 4294967291)";
    assert_eq!(db.number(sql).await, 2);
    // The same numbers for somebody else, or for another delivery.
    let rows = "id,delivery,email\n6387601,7470014,b@example.com\n6387601,7470015,a@example.com\n";
    let done = import(&server, "adobe-broadlogs", rows);
    assert_eq!(done.counts(), [0, 0, 0, 0, 2]);
    assert!(done.told.contains("belongs to another contact"));
    assert!(done.told.contains("belongs to delivery 7470014"));
    // Whoever exports the UUIDs later adds them.
    let rows = "id,uuid,delivery,email\n6387601,aaaaaaaa-f0e8-4a05-a0b7-0d2f79f8be70,7470014,A@example.com\n";
    assert_eq!(
        import(&server, "adobe-broadlogs", rows).counts(),
        [0, 1, 0, 0, 0]
    );
    // From version 8 on there may be nothing else; a row without either is refused.
    let rows = "@uuid,[delivery/@id],email\n\
        5b0d1f39-0d31-4b0a-9a55-6c1f6f6f0b77,7470014,d@example.com\n,7470014,e@example.com\n";
    let done = import_twice(&server, "adobe-broadlogs", rows);
    assert_eq!(done.counts(), [1, 0, 0, 0, 1], "{}", done.told);
    assert!(done.told.contains("id is empty"), "{}", done.told);
    let sql = "select count(*) from message_keys where key = \
        'adobe:5b0d1f39-0d31-4b0a-9a55-6c1f6f6f0b77'";
    assert_eq!(server.db().number(sql).await, 1);
    // The API takes the numbers of Adobe's tables, too.
    let mut api = server.client().admin();
    let hit = json!({ "kind": "event", "event": "x", "broadlog_id": -5 });
    let taken = api.post_json("/api/v1/hits", &hit).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    server.wait_drained(Duration::from_secs(20)).await;
    let sql = "select count(*) from hits where broadlog_id = 4294967291";
    assert_eq!(server.db().number(sql).await, 1);
    let delivery = json!({ "id": -6, "label": "Below zero" });
    let made = api.post_json("/api/v1/deliveries", &delivery).await;
    assert_eq!(made.json()["id"], 4_294_967_290_u32, "{}", made.text());
    for path in [
        "/api/v1/deliveries/-6",
        "/api/v1/deliveries/4294967290/report",
    ] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
    server.finish().await;
}

on_both!(
    mautics_people_and_messages_come_once,
    adobes_messages_are_found_by_number_and_by_uuid,
    a_placeholder_in_a_unique_field_is_a_refused_row,
);
