//! What strangers try, on every surface, and what it comes to. The rules themselves stand in
//! `static/docs/identity.md`, and each of its cells is tried in `src/identity/rights/tests.rs`.

use base64::Engine as _;
use serde_json::json;
use sillage::both;
use sillage::door::{Keys, Purpose, VisitorId, foreign_visitor};

use super::DRAINED;
use super::world::{DELIVERY, DEVICE, HASH, TO_ADA, TO_BOB, TO_EVE, World, pixel};
use crate::harness::{Engine, SIGNING_KEY, TestServer, on_both};

const URLENCODED: &str = "application/x-www-form-urlencoded";
const ATTACK: &str = "email=ada@x.example&firstname=EVIL&tags=evil,-customer&customer_id=666";

async fn no_surface_lets_a_stranger_write_into_a_contact(engine: Engine) {
    let world = World::make(engine).await;
    let ada = world.person("email", "ada@x.example").await;
    let bob = world.person("customer_id", "77").await;
    assert_eq!(ada.1, ["customer"]);

    // The pixel, without any cookie, and again with those that it left behind.
    let mut stranger = world.browser();
    pixel(&mut stranger, "pixel", ATTACK).await;
    pixel(
        &mut stranger,
        "pixel-again",
        "firstname=EVIL&tags=evil,-customer",
    )
    .await;
    // The script, and the API of a shop that believes the visitor's id.
    let mut stranger = world.browser();
    let body = format!("page_url=script&{ATTACK}");
    let answer = stranger.post("/mtc/event", URLENCODED, body).await.json();
    let said = json!({ "page_url": "api", "visitor_id": answer["id"], "contact": { "firstname": "EVIL" }, "tags": "evil,-customer" });
    let mut shop = world.server.client().admin();
    assert_eq!(shop.post_json("/api/v1/hits", &said).await.status, 202);
    // A form.
    let body = "mauticform[email]=ada@x.example&mauticform[firstname]=EVIL&mauticform[vip]=yes";
    let mut stranger = world.browser();
    stranger
        .post("/form/submit?formId=3", URLENCODED, body)
        .await;
    // A click on a link of one's own: its query sets nothing.
    let mut stranger = world.browser();
    let path = format!("/r/{}?{ATTACK}", world.links[&TO_EVE]);
    assert_eq!(stranger.get(&path).await.status, 302);
    // Adobe: a guessed number, and pages after it; the recipient of a page tag; a forged session
    // cookie.
    let mut stranger = world.browser();
    let guessed = format!("/r/?id=h{TO_BOB:x},{DELIVERY:x},71ffa8&{ATTACK}");
    assert_eq!(stranger.get(&guessed).await.status, 302);
    pixel(&mut stranger, "adobe", "firstname=EVIL&tags=evil,-customer").await;
    pixel(&mut stranger, "adobe-mail", "email=stranger@x.example").await;
    let mut stranger = world.browser();
    stranger
        .get(&format!(
            "/r/1?tagid=home&rcpid=email%3Dada%40x.example&{ATTACK}"
        ))
        .await;
    pixel(&mut stranger, "rcpid", "firstname=EVIL&tags=evil,-customer").await;
    let mut stranger = world.browser();
    stranger
        .cookies
        .insert("nlid".into(), format!("{TO_ADA:x}|{DELIVERY:x}"));
    stranger.get("/r/1?tagid=home").await;
    pixel(&mut stranger, "nlid", "firstname=EVIL&tags=evil,-customer").await;
    // Mapp.
    let uc = "eid=2160000000000000046&uc700=ada@x.example&uc703=EVIL&cd=666";
    let mut stranger = world.browser();
    stranger
        .get(&format!("/111111111111111/wt?p=300,mapp&{uc}"))
        .await;
    stranger
        .post(
            "/111111111111111/batch",
            "text/plain",
            format!("wt?p=300,batch&{uc}\n"),
        )
        .await;
    // Mautic: an imported link with the message's name, a pixel with it, the mail's own pixel, and
    // parameters in a `d`.
    let base64 = base64::engine::general_purpose::URL_SAFE;
    let ct = base64.encode(format!("a:1:{{s:4:\"stat\";s:{}:\"{HASH}\";}}", HASH.len()));
    let mut stranger = world.browser();
    let path = format!("/r/0123456789abcdef012345678?ct={ct}&{ATTACK}");
    assert_eq!(stranger.get(&path).await.status, 302);
    pixel(
        &mut stranger,
        "mautic",
        "firstname=EVIL&tags=evil,-customer",
    )
    .await;
    pixel(
        &mut world.browser(),
        "ct",
        &format!("ct={ct}&firstname=EVIL&tags=evil,-customer"),
    )
    .await;
    world
        .browser()
        .get(&format!("/email/{HASH}.gif?{ATTACK}"))
        .await;
    let d = base64.encode("a:3:{s:8:\"page_url\";s:1:\"d\";s:5:\"email\";s:13:\"ada@x.example\";s:9:\"firstname\";s:4:\"EVIL\";}");
    world
        .browser()
        .get(&format!("/mtracking.gif?d={d}&tags=evil,-customer"))
        .await;

    world.server.wait_drained(DRAINED).await;
    assert_eq!(world.person("email", "ada@x.example").await, ada);
    assert_eq!(world.person("customer_id", "77").await, bob);
    let evil = "select count(*) from contact_keys where field = 'customer_id' and value = '666'";
    assert_eq!(world.server.db().number(evil).await, 0);
    let (stranger, _) = world.person("email", "stranger@x.example").await;
    assert_eq!(stranger, json!({ "email": "stranger@x.example" }));

    let ada = Some("ada@x.example".to_owned());
    for (page, owner, field) in [
        ("pixel", &ada, "firstname"),
        ("pixel-again", &ada, "firstname"),
        ("script", &ada, "firstname"),
        ("api", &ada, "firstname"),
        ("Newsletter", &ada, "firstname"),
        ("adobe", &None, "firstname"),
        ("rcpid", &ada, "firstname"),
        ("nlid", &ada, "firstname"),
        ("mapp", &ada, "firstname"),
        ("batch", &ada, "firstname"),
        ("mautic", &ada, "firstname"),
        ("ct", &ada, "firstname"),
        ("d", &ada, "firstname"),
    ] {
        let (email, reason, extra) = world.told(page).await;
        assert_eq!(
            &email, owner,
            "{page}: whose hit it is can be said by anybody"
        );
        assert!(reason.contains("field not proved"), "{page}: {reason}");
        assert_eq!(extra[field], "EVIL", "{page}");
        let has_tags = !["Newsletter", "mapp", "batch"].contains(&page);
        assert_eq!(
            reason.contains("tag not proved"),
            has_tags,
            "{page}: {reason}"
        );
    }
    for page in ["pixel", "script", "mapp"] {
        let (_, reason, extra) = world.told(page).await;
        assert!(
            reason.contains("unique value not proved"),
            "{page}: {reason}"
        );
        assert_eq!(extra["customer_id"], "666", "{page}");
    }
    world.server.finish().await;
}

async fn what_is_empty_is_filled_where_the_operator_lists_it(engine: Engine) {
    let world = World::make(engine).await;
    let mut browser = world.browser();
    pixel(
        &mut browser,
        "a",
        "email=ADA@x.example&city=Rome&nickname=Lady",
    )
    .await;
    pixel(&mut browser, "b", "city=Oslo").await;
    world.server.wait_drained(DRAINED).await;
    let (fields, _) = world.person("email", "ada@x.example").await;
    let expected =
        json!({ "email": "ada@x.example", "firstname": "Ada", "vip": "no", "city": "Rome" });
    assert_eq!(fields, expected);
    let (_, reason, extra) = world.told("a").await;
    assert_eq!((&*reason, &extra), ("", &json!({ "nickname": "Lady" })));
    let (_, reason, extra) = world.told("b").await;
    assert_eq!(
        (&*reason, &extra),
        ("field not proved", &json!({ "city": "Oslo" }))
    );
    world.server.finish().await;
}

async fn what_is_proved_writes(engine: Engine) {
    let world = World::make(engine).await;
    let ada = async || {
        world.server.wait_drained(DRAINED).await;
        let (fields, tags) = world.person("email", "ada@x.example").await;
        (fields["firstname"].as_str().unwrap().to_owned(), tags)
    };
    let mut reader = world.browser();
    world.click(&mut reader, TO_ADA).await;
    pixel(
        &mut reader,
        "session",
        "email=ada@x.example&firstname=Session&tags=s,-customer",
    )
    .await;
    assert_eq!(ada().await, ("Session".to_owned(), vec!["s".to_owned()]));
    // A new day: the visitor's cookie is left.
    reader.end_session();
    pixel(&mut reader, "visitor", "firstname=Visitor&tags=v,-s").await;
    assert_eq!(ada().await, ("Visitor".to_owned(), vec!["v".to_owned()]));
    // The browser says that it is somebody else's now, and then that it is Ada's again: that is a
    // claim.
    pixel(&mut reader, "shared", "email=eve@x.example&firstname=Eve").await;
    pixel(&mut reader, "back", "email=ada@x.example&firstname=Claim").await;
    pixel(&mut reader, "later", "firstname=Claim&tags=c").await;
    assert_eq!(ada().await, ("Visitor".to_owned(), vec!["v".to_owned()]));
    // The API says whose it is, and it is proved again.
    let body = json!({ "visitor_id": world.told_visitor("later").await, "contact": { "email": "ada@x.example", "firstname": "Api" } });
    let mut api = world.server.client().admin();
    assert_eq!(api.post_json("/api/v1/hits", &body).await.status, 202);
    assert_eq!(ada().await.0, "Api");
    pixel(&mut reader, "proved", "firstname=Again").await;
    assert_eq!(ada().await.0, "Again");
    world.server.finish().await;
}

async fn a_vendors_id_of_a_browser_is_never_signed_and_never_a_proof(engine: Engine) {
    let world = World::make(engine).await;
    let keys = Keys::parse(&[SIGNING_KEY.to_owned()]).unwrap();
    let derived = foreign_visitor("mautic", DEVICE);
    let of_before = keys.seal(Purpose::Visitor, &derived.0.simple().to_string());
    let adobes = "7a1b2c3d-0000-4000-8000-00000000abcd";
    let mut browser = world.browser();
    // Given as a parameter, kept as a cookie, given back by the script: always as it came.
    let body = format!("page_url=a&mautic_device_id={DEVICE}");
    let answer = browser.post("/mtc/event", URLENCODED, body).await.json();
    assert_eq!(answer["id"], derived.told());
    assert_eq!(
        (&answer["sid"], &answer["device_id"]),
        (&json!(DEVICE), &json!(DEVICE))
    );
    assert_eq!(browser.cookies["visitorId"], DEVICE);
    let answer = browser.get("/mtc").await.json();
    assert_eq!(
        (&answer["id"], &answer["device_id"]),
        (&json!(derived.told()), &json!(DEVICE))
    );
    // Adobe's, from its own cookie.
    let mut adobe = world.browser();
    adobe.cookies.insert("uuid230".into(), adobes.into());
    adobe.get("/r/1?tagid=home&jobid=71ffa3").await;
    assert_eq!(adobe.cookies["visitorId"], format!("adobe:{adobes}"));
    adobe.cookies.remove("uuid230");
    let answer = adobe.get("/mtc").await.json();
    let visitor = foreign_visitor("adobe", &adobes.replace('-', ""));
    assert_eq!(answer["id"], visitor.told());
    // What a server of before has signed goes back as it came, and proves no more.
    let mut old = world.browser();
    old.cookies.insert("visitorId".into(), of_before.clone());
    let answer = old.get("/mtc").await.json();
    assert_eq!(
        (&answer["id"], &answer["device_id"]),
        (&json!(derived.told()), &json!(of_before))
    );

    // Its owner clicks a signed link: hits of the id are Ada's from then on. Who else has the id
    // says nothing about Ada.
    world.click(&mut browser, TO_ADA).await;
    for (page, cookie) in [("cookie", DEVICE), ("signed-before", of_before.as_str())] {
        let mut stranger = world.browser();
        stranger.cookies.insert("visitorId".into(), cookie.into());
        pixel(&mut stranger, page, "firstname=EVIL&tags=evil").await;
    }
    let parameter = format!("mautic_device_id={DEVICE}&firstname=EVIL&tags=evil");
    pixel(&mut world.browser(), "parameter", &parameter).await;
    world.server.wait_drained(DRAINED).await;
    for page in ["cookie", "signed-before", "parameter"] {
        let (email, reason, _) = world.told(page).await;
        assert_eq!(email.as_deref(), Some("ada@x.example"), "{page}");
        assert_eq!(reason, "field not proved; tag not proved", "{page}");
    }
    // In the session of the click it is Ada who speaks.
    pixel(&mut browser, "session", "firstname=Lady").await;
    world.server.wait_drained(DRAINED).await;
    let (fields, tags) = world.person("email", "ada@x.example").await;
    assert_eq!((&fields["firstname"], tags.len()), (&json!("Lady"), 1));
    let proved = "select count(*) from visitors where is_proved = 1";
    assert_eq!(world.server.db().number(proved).await, 0);
    world.server.finish().await;
}

/// A stranger puts his own, signed id into the address of an image, and somebody else's browser
/// loads it. What is proved of that person later must give the stranger no right.
async fn an_id_that_was_handed_to_a_browser_is_no_proof_of_its_person(engine: Engine) {
    let world = World::make(engine).await;
    let mut eve = world.browser();
    let answer = eve.post("/mtc/event", URLENCODED, "page_url=eve").await;
    let own = answer.json()["device_id"].as_str().unwrap().to_owned();
    let mut ada = world.browser();
    pixel(&mut ada, "image", &format!("mautic_device_id={own}")).await;
    assert_eq!(ada.cookies["visitorId"], format!("handed:{own}"));
    world.click(&mut ada, TO_ADA).await;
    pixel(&mut eve, "cookie", "firstname=EVIL&tags=evil").await;
    pixel(
        &mut world.browser(),
        "parameter",
        &format!("mautic_device_id={own}&firstname=EVIL&tags=evil"),
    )
    .await;
    // Ada's session is hers all the same; and a browser's own id, sent as a parameter, keeps what
    // was proved of it.
    pixel(&mut ada, "session", "firstname=Lady").await;
    let mut reader = world.browser();
    let answer = reader
        .post("/mtc/event", URLENCODED, "page_url=reader")
        .await;
    let own = answer.json()["device_id"].as_str().unwrap().to_owned();
    world.click(&mut reader, TO_BOB).await;
    reader.cookies.clear();
    pixel(
        &mut reader,
        "script",
        &format!("mautic_device_id={own}&firstname=Robert"),
    )
    .await;
    world.server.wait_drained(DRAINED).await;
    for page in ["cookie", "parameter"] {
        let (_, reason, _) = world.told(page).await;
        assert_eq!(reason, "field not proved; tag not proved", "{page}");
    }
    let (fields, tags) = world.person("email", "ada@x.example").await;
    assert_eq!((&fields["firstname"], tags.len()), (&json!("Lady"), 1));
    let (fields, _) = world.person("customer_id", "77").await;
    assert_eq!(fields["firstname"], "Robert");
    world.server.finish().await;
}

async fn a_visitor_that_was_bound_before_the_upgrade_counts_as_proved(engine: Engine) {
    let world = World::make(engine).await;
    let clock = sillage::door::Clock::system();
    let visitor = VisitorId(clock.new_id(clock.now()));
    let sql = "insert into visitors (id, contact_id, changed_at)
               select $1, contact_id, (select created_at from contacts c where c.id = contact_id) from contact_keys where value = 'ada@x.example'";
    both!(world.server.db().pool(), pool => sqlx::query(sql).bind(visitor.0).execute(pool).await.map(|_| ())).unwrap();
    let keys = Keys::parse(&[SIGNING_KEY.to_owned()]).unwrap();
    let mut browser = world.browser();
    let cookie = keys.seal(Purpose::Visitor, &visitor.0.simple().to_string());
    browser.cookies.insert("visitorId".into(), cookie);
    pixel(&mut browser, "a", "firstname=Lady").await;
    world.server.wait_drained(DRAINED).await;
    let (fields, _) = world.person("email", "ada@x.example").await;
    assert_eq!(fields["firstname"], "Lady");
    world.server.finish().await;
}

const PURCHASE: &str = "revenue=10&order_id=1003&idempotency_key=order-1003";

async fn a_strangers_key_makes_no_purchase_disappear(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let agent = |name: &str| server.client().header("user-agent", name);
    // Who has a cookie, and who has none but another browser or address.
    let mut known = server.client();
    pixel(&mut known, "shop", "").await;
    let mut stranger = agent("Mozilla/5.0 (Windows NT 10.0) Stranger/1");
    pixel(&mut stranger, "stranger", PURCHASE).await;
    pixel(&mut stranger, "stranger", PURCHASE).await;
    pixel(&mut known, "known", PURCHASE).await;
    pixel(&mut known, "known", PURCHASE).await;
    let mut new = agent("Mozilla/5.0 (Macintosh) New/1");
    let body = format!("page_url=new&{PURCHASE}");
    new.post("/mtc/event", URLENCODED, body.clone()).await;
    // The answer did not arrive, so the pixel follows; with the cookie that came all the same, or
    // where cookies are blocked without it.
    pixel(&mut new, "new", PURCHASE).await;
    new.cookies.clear();
    pixel(&mut new, "new", PURCHASE).await;
    new.post("/mtc/event", URLENCODED, body).await;
    // A sender with a token, twice.
    let mut api = server.client().admin();
    let sent = json!({ "page_url": "api", "revenue": 10, "idempotency_key": "order-1003" });
    for _ in 0..2 {
        assert_eq!(api.post_json("/api/v1/hits", &sent).await.status, 202);
    }
    server.wait_drained(DRAINED).await;
    for page in ["stranger", "known", "new", "api"] {
        let sql = format!("select count(*) from hits where page_url = '{page}'");
        assert_eq!(server.db().number(&sql).await, 1, "{page}");
    }
    server.finish().await;
}

async fn trusted_servers_share_the_scope_of_their_keys(engine: Engine) {
    let server = TestServer::on(engine)
        .with("TRUST__SENDERS", "127.0.0.1/32")
        .start()
        .await;
    // Two machines of the shop, one order.
    for agent in ["shop-a/1.0", "shop-b/2.0"] {
        let mut shop = server.client().header("user-agent", agent);
        pixel(&mut shop, "shop", PURCHASE).await;
    }
    server.wait_drained(DRAINED).await;
    let sql = "select count(*) from hits where page_url = 'shop'";
    assert_eq!(server.db().number(sql).await, 1);
    server.finish().await;
}

on_both!(
    no_surface_lets_a_stranger_write_into_a_contact,
    what_is_empty_is_filled_where_the_operator_lists_it,
    what_is_proved_writes,
    a_vendors_id_of_a_browser_is_never_signed_and_never_a_proof,
    an_id_that_was_handed_to_a_browser_is_no_proof_of_its_person,
    a_visitor_that_was_bound_before_the_upgrade_counts_as_proved,
    a_strangers_key_makes_no_purchase_disappear,
    trusted_servers_share_the_scope_of_their_keys,
);
