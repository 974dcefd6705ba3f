//! What a browser said before anybody knew whose it is, and who gets it.

use serde_json::json;

use super::DRAINED;
use super::world::{TO_BOB, TO_EVE, World, pixel};
use crate::harness::{Engine, on_both};

async fn what_was_said_before_is_the_persons_when_it_is_known(engine: Engine) {
    let world = World::make(engine).await;
    let mut eve = world.browser();
    pixel(
        &mut eve,
        "first",
        "firstname=Grace&tags=lamp,blue&unlisted=1",
    )
    .await;
    world.server.wait_drained(DRAINED).await;
    pixel(&mut eve, "second", "firstname=Eva&city=Berlin&tags=-blue").await;
    // What has a name of its own meanwhile.
    let mut bob = world.browser();
    pixel(&mut bob, "bob", "firstname=EVIL&city=Rome&tags=-customer").await;
    world.server.wait_drained(DRAINED).await;
    // A link that anybody can make sets nothing, now or later; nor does what a machine says.
    eve.get("/r/0123456789abcdef012345678?customer_id=5&city=Paris")
        .await;
    world.click(&mut eve, TO_EVE).await;
    world.click(&mut bob, TO_BOB).await;
    world.server.wait_drained(DRAINED).await;

    let (fields, tags) = world.person("email", "eve@x.example").await;
    let expected = json!({ "email": "eve@x.example", "firstname": "Grace", "city": "Berlin" });
    assert_eq!(fields, expected);
    assert_eq!(tags, ["lamp"]);
    let (fields, tags) = world.person("customer_id", "77").await;
    let expected = json!({ "customer_id": "77", "firstname": "Bob", "city": "Rome" });
    assert_eq!(fields, expected, "what the person has stays");
    assert_eq!(tags, [] as [&str; 0], "proved, so the tag may go");
    world.server.finish().await;
}

async fn what_is_claimed_gets_no_more_than_a_claim(engine: Engine) {
    let world = World::make(engine).await;
    let mut stranger = world.browser();
    pixel(&mut stranger, "first", "firstname=EVIL&tags=evil,-customer").await;
    world.server.wait_drained(DRAINED).await;
    let before = world.person("email", "ada@x.example").await;
    pixel(&mut stranger, "second", "email=ada@x.example").await;
    world.server.wait_drained(DRAINED).await;
    assert_eq!(world.person("email", "ada@x.example").await, before);

    // Whoever makes a contact has made it with all that was said.
    let mut lead = world.browser();
    pixel(&mut lead, "first", "firstname=Lea&tags=lead").await;
    pixel(&mut lead, "second", "city=Oslo&tags=new").await;
    pixel(&mut lead, "third", "email=lea@x.example&city=Bergen").await;
    world.server.wait_drained(DRAINED).await;
    let (fields, tags) = world.person("email", "lea@x.example").await;
    let expected = json!({ "email": "lea@x.example", "firstname": "Lea", "city": "Bergen" });
    assert_eq!(fields, expected);
    assert_eq!(tags, ["lead", "new"]);
    world.server.finish().await;
}

async fn a_machines_words_are_nobodys(engine: Engine) {
    let world = World::make(engine).await;
    let mut browser = world.browser();
    pixel(&mut browser, "first", "tags=seen").await;
    let bot = [(
        "user-agent",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
    )];
    browser
        .get_with("/mtracking.gif?city=Mountain+View&tags=bot", &bot)
        .await;
    world.server.wait_drained(DRAINED).await;
    pixel(&mut browser, "second", "email=new@x.example").await;
    world.server.wait_drained(DRAINED).await;
    let (fields, tags) = world.person("email", "new@x.example").await;
    assert_eq!(fields, json!({ "email": "new@x.example" }));
    assert_eq!(tags, ["seen"]);
    world.server.finish().await;
}

async fn the_address_of_a_page_names_only_whom_nobody_knows(engine: Engine) {
    let world = World::make(engine).await;
    let shop = "https%3A%2F%2Fshop.example%2F";
    let page = |query: &str| format!("{shop}%3F{}", query.replace('&', "%26").replace('=', "%3D"));
    // A link that somebody sent around, opened by a browser that is Eve's.
    let mut eve = world.browser();
    world.click(&mut eve, TO_EVE).await;
    let sent = page("email=ada@x.example&firstname=EVIL&city=Rome&tags=evil");
    pixel(&mut eve, &sent, "").await;
    pixel(&mut eve, "after", "").await;
    // By nobody's: it is Ada's from then on, as a claim.
    let mut nobody = world.browser();
    pixel(&mut nobody, &sent, "").await;
    pixel(&mut nobody, "after", "firstname=EVIL&tags=evil,-customer").await;
    // What the page itself sends comes first; and what names nobody waits.
    let mut lead = world.browser();
    let form = page("email=lea@x.example&firstname=Lea&customer_id=unknown");
    pixel(&mut lead, &form, "firstname=Leah").await;
    let mut later = world.browser();
    pixel(&mut later, &page("city=Oslo"), "").await;
    pixel(&mut later, "after", "email=olav@x.example").await;
    world.server.wait_drained(DRAINED).await;

    let (fields, tags) = world.person("email", "eve@x.example").await;
    assert_eq!(
        fields,
        json!({ "email": "eve@x.example", "firstname": "EVIL", "city": "Rome" })
    );
    assert_eq!(tags, [] as [&str; 0]);
    let (fields, tags) = world.person("email", "ada@x.example").await;
    let ada = json!({ "email": "ada@x.example", "firstname": "Ada", "vip": "no", "city": "Rome" });
    assert_eq!(fields, ada, "what is empty is filled");
    assert_eq!(tags, ["customer"]);
    let (fields, _) = world.person("email", "lea@x.example").await;
    assert_eq!(
        fields,
        json!({ "email": "lea@x.example", "firstname": "Leah" })
    );
    let (fields, _) = world.person("email", "olav@x.example").await;
    assert_eq!(fields, json!({ "email": "olav@x.example", "city": "Oslo" }));
    world.server.finish().await;
}

on_both!(
    what_was_said_before_is_the_persons_when_it_is_known,
    what_is_claimed_gets_no_more_than_a_claim,
    a_machines_words_are_nobodys,
    the_address_of_a_page_names_only_whom_nobody_knows,
);
