//! Page tags, and what strangers may make of them in a day.

use std::collections::BTreeSet;

use crate::model::clock::Micros;
use crate::model::hit::PageTagKind;
use crate::operator::NewPageTag;
use crate::store::page_tags::{DayCount, PageTag, TagRule};

use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, new_store};

fn new(identifier: &str, kind: PageTagKind) -> NewPageTag {
    NewPageTag {
        identifier: identifier.to_owned(),
        label: (kind == PageTagKind::Web).then(|| "label".to_owned()),
        kind,
        folder: Some("folder".to_owned()),
        source_url: Some("https://shop.example/".to_owned()),
        valid_until: (kind == PageTagKind::Web).then_some(NOW),
    }
}

fn stored(new: &NewPageTag, created_at: Micros) -> PageTag {
    PageTag {
        identifier: new.identifier.clone(),
        label: new.label().to_owned(),
        kind: new.kind,
        folder: new.folder.clone(),
        source_url: new.source_url.clone(),
        valid_until: new.valid_until,
        created_at,
    }
}

async fn a_tag_is_made_once_and_replaced_where_it_is(engine: Engine) {
    let store = new_store(engine).await;
    let mut tx = store.begin().await.unwrap();
    let tag = new("home", PageTagKind::Web);
    assert!(
        !tx.replace_page_tag(&tag, NOW).await.unwrap(),
        "there is none"
    );
    assert!(tx.create_page_tag(&tag, NOW).await.unwrap());
    let other = new("home", PageTagKind::Transaction);
    assert!(!tx.create_page_tag(&other, NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(
        store.page_tag("home").await.unwrap(),
        Some(stored(&tag, NOW))
    );
    let mut tx = store.begin().await.unwrap();
    assert!(
        tx.replace_page_tag(&other, Micros(NOW.0 + 1))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(
        store.page_tag("home").await.unwrap(),
        Some(stored(&other, NOW))
    );
    assert_eq!(store.page_tag("Home").await.unwrap(), None, "case counts");
    store.close().await;
}

async fn tags_are_listed_in_the_order_of_their_bytes(engine: Engine) {
    let store = new_store(engine).await;
    let mut names: Vec<&str> = HOSTILE.into_iter().chain(["a", "B", "b", "_"]).collect();
    let mut tx = store.begin().await.unwrap();
    for name in &names {
        assert!(
            tx.create_page_tag(&new(name, PageTagKind::Web), NOW)
                .await
                .unwrap()
        );
    }
    tx.commit().await.unwrap();
    names.sort_unstable();
    let (mut read, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.page_tags(after.as_deref(), 5).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.identifier.clone());
        read.extend(page.into_iter().map(|tag| tag.identifier));
    }
    assert_eq!(read, names);
    store.close().await;
}

async fn the_first_request_that_describes_a_tag_makes_it(engine: Engine) {
    let store = new_store(engine).await;
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.insert_page_tags(&[], NOW).await.unwrap(), 0);
    let tags: Vec<_> = HOSTILE
        .into_iter()
        .map(|name| new(name, PageTagKind::Transaction))
        .collect();
    assert_eq!(tx.insert_page_tags(&tags, NOW).await.unwrap(), 8);
    let again = [
        new(HOSTILE[0], PageTagKind::Web),
        new("new", PageTagKind::Web),
    ];
    assert_eq!(tx.insert_page_tags(&again, NOW).await.unwrap(), 1);
    let asked = BTreeSet::from([HOSTILE[0], HOSTILE[6], "new", "none"]);
    let mut rules = tx.load_page_tags(&asked).await.unwrap();
    rules.sort_by(|one, other| one.0.cmp(&other.0));
    let rule = |kind| TagRule {
        kind,
        valid_until: (kind == PageTagKind::Web).then_some(NOW),
    };
    let mut expected = vec![
        (HOSTILE[0].to_owned(), rule(PageTagKind::Transaction)),
        (HOSTILE[6].to_owned(), rule(PageTagKind::Transaction)),
        ("new".to_owned(), rule(PageTagKind::Web)),
    ];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(rules, expected);
    assert!(
        tx.load_page_tags(&BTreeSet::new())
            .await
            .unwrap()
            .is_empty()
    );
    // A word that no version has written stands for a page.
    tx.run("update page_tags set kind = 'mystery' where identifier = 'new'")
        .await
        .unwrap();
    let rules = tx.load_page_tags(&BTreeSet::from(["new"])).await.unwrap();
    assert_eq!(rules[0].1.kind, PageTagKind::Web);
    tx.commit().await.unwrap();
    store.close().await;
}

async fn a_day_has_its_count_and_another_begins_at_nothing(engine: Engine) {
    let store = new_store(engine).await;
    let today = NOW.day();
    let nothing = |day| DayCount {
        day,
        ..DayCount::default()
    };
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.day_count("tags", NOW).await.unwrap(), nothing(today));
    let count = DayCount {
        day: today,
        used: 7,
        refused: i64::MAX,
    };
    tx.set_day_count("tags", &count).await.unwrap();
    for offset in [0, Micros::DAY - 1] {
        let now = Micros(today.0 + offset);
        assert_eq!(tx.day_count("tags", now).await.unwrap(), count);
    }
    assert_eq!(
        tx.day_count("tags", Micros(today.0 - 1)).await.unwrap(),
        count,
        "a clock behind"
    );
    let tomorrow = Micros(today.0 + Micros::DAY);
    assert_eq!(
        tx.day_count("tags", tomorrow).await.unwrap(),
        nothing(tomorrow)
    );
    let long_ago = Micros(today.0 - 2 * Micros::DAY);
    assert_eq!(
        tx.day_count("tags", long_ago).await.unwrap(),
        nothing(long_ago),
        "a wrong clock"
    );
    assert_eq!(tx.day_count("others", NOW).await.unwrap(), nothing(today));
    tx.set_day_count("tags", &nothing(tomorrow)).await.unwrap();
    assert_eq!(
        tx.day_count("tags", tomorrow).await.unwrap(),
        nothing(tomorrow)
    );
    tx.commit().await.unwrap();
    store.close().await;
}

on_both!(
    a_tag_is_made_once_and_replaced_where_it_is,
    tags_are_listed_in_the_order_of_their_bytes,
    the_first_request_that_describes_a_tag_makes_it,
    a_day_has_its_count_and_another_begins_at_nothing,
);
