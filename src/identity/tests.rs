//! Who a hit belongs to, rule by rule.

mod proofs;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::evidence::NamedMessage;
use super::*;
use crate::model::clock::Micros;
use crate::model::hit::{
    Authority, BroadlogId, ContactId, DeliveryId, Dialect, Hit, HitId, Kind, Provenance, TagChange,
    Verdict, VisitorId,
};

impl<N: FnMut() -> Uuid> Resolver<'_, N> {
    fn find<'h>(&mut self, hit: &'h Hit) -> Finding<'h> {
        self.resolve(&Evidence::from(hit))
    }

    fn whose(&mut self, hit: &Hit) -> Option<ContactId> {
        self.find(hit).contact
    }
}

/// The notes of a finding, as a hit joins them.
fn notes(finding: &Finding<'_>) -> String {
    let notes = finding
        .leftovers
        .iter()
        .filter_map(|left| left.note.as_deref());
    notes.collect::<Vec<_>>().join("; ")
}

/// The fields that stay with the hit.
fn left<'f>(finding: &'f Finding<'_>) -> Vec<(&'f str, &'f str)> {
    let fields = finding
        .leftovers
        .iter()
        .filter_map(|left| left.field.as_ref());
    fields.map(|(name, value)| (*name, &**value)).collect()
}

/// Message 5, as a vendor's name in a link proves it.
const MESSAGE: NamedMessage = NamedMessage {
    id: BroadlogId(5),
    provenance: Provenance::Unsigned,
};

fn id(n: u128) -> ContactId {
    ContactId(Uuid::from_u128(n))
}

fn visitor(n: u128) -> Option<VisitorId> {
    Some(VisitorId(Uuid::from_u128(n)))
}

fn bound(n: u128, is_proved: bool) -> Binding {
    let contact = id(n);
    Binding { contact, is_proved }
}

fn hit(fields: &[(&str, &str)]) -> Hit {
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        Micros(0),
        Kind::Pageview,
        Dialect::Native,
    );
    hit.fields = fields
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    hit
}

fn person(n: u128, email: &str, known: &mut Known) {
    known.keys.insert(("email".into(), email.into()), id(n));
    known.ids.insert(id(n), id(n));
    known.contacts.insert(
        id(n),
        Contact {
            fields: BTreeMap::from([("email".into(), email.into())]),
            ..Contact::default()
        },
    );
}

fn unique() -> Vec<String> {
    vec!["email".into(), "customer_id".into()]
}

fn resolver(known: Known, unique: &[String]) -> Resolver<'_, impl FnMut() -> Uuid> {
    let mut next = 1_000;
    Resolver::new(unique, known, move || {
        next += 1;
        Uuid::from_u128(next)
    })
}

#[test]
fn a_browser_known_as_a_that_names_b_becomes_b_and_a_stays_as_it_was() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    person(2, "b@x", &mut known);
    known
        .visitors
        .insert(VisitorId(Uuid::from_u128(9)), bound(1, true));
    let mut resolver = resolver(known, &unique);
    let mut named = hit(&[("email", " B@x "), ("firstname", "Bea")]);
    named.visitor_id = visitor(9);
    assert_eq!(resolver.whose(&named), Some(id(2)));
    let mut later = hit(&[]);
    later.visitor_id = visitor(9);
    assert_eq!(resolver.whose(&later), Some(id(2)));
    let changes = resolver.finish();
    assert_eq!(changes.contacts.len(), 1);
    assert_eq!(changes.contacts[&id(2)].fields["firstname"], "Bea");
    assert_eq!(changes.visitors.len(), 1);
    assert!(changes.completed.is_empty() && changes.keys.is_empty());
}

#[test]
fn a_value_nobody_has_goes_to_a_only_where_the_field_is_empty() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    known
        .visitors
        .insert(VisitorId(Uuid::from_u128(9)), bound(1, true));
    let mut resolver = resolver(known, &unique);
    let mut added = hit(&[("customer_id", "7")]);
    added.visitor_id = visitor(9);
    assert_eq!(resolver.whose(&added), Some(id(1)));
    let mut other = hit(&[("email", "new@x")]);
    other.visitor_id = visitor(9);
    assert_eq!(resolver.whose(&other), Some(id(1_001)));
}

#[test]
fn an_anonymous_visitor_makes_no_contact_and_is_completed_when_named() {
    let unique = unique();
    let mut resolver = resolver(Known::default(), &unique);
    let mut anonymous = hit(&[("firstname", "X")]);
    anonymous.visitor_id = visitor(9);
    let finding = resolver.find(&anonymous);
    assert_eq!(finding.contact, None);
    assert_eq!(left(&finding), [("firstname", "X")]);
    assert_eq!(notes(&finding), "");
    let mut named = hit(&[("email", "n@x")]);
    named.visitor_id = visitor(9);
    named.tags = vec![TagChange {
        name: "t".into(),
        remove: false,
    }];
    let contact = resolver.whose(&named).unwrap();
    let changes = resolver.finish();
    assert_eq!(changes.completed[&VisitorId(Uuid::from_u128(9))], contact);
    assert_eq!(changes.contacts.len(), 1);
    assert_eq!(changes.contacts[&contact].tags, ["t"]);
}

#[test]
fn the_signed_link_wins_over_a_named_field_and_that_over_the_session() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    person(2, "b@x", &mut known);
    known
        .broadlogs
        .insert(BroadlogId(5), (id(1), DeliveryId(3)));
    let mut resolver = resolver(known, &unique);
    for (provenance, expected) in [
        (Provenance::Link, 1),
        (Provenance::Session, 2),
        (Provenance::Claimed, 2),
    ] {
        let mut named = hit(&[("email", "b@x")]);
        named.broadlog_id = Some(BroadlogId(5));
        named.provenance = provenance;
        let finding = resolver.find(&named);
        assert_eq!(finding.contact, Some(id(expected)), "{provenance:?}");
        assert_eq!(finding.delivery, Some(DeliveryId(3)));
    }
    let mut claimed = hit(&[]);
    claimed.broadlog_id = Some(BroadlogId(5));
    claimed.provenance = Provenance::Claimed;
    assert_eq!(resolver.whose(&claimed), None);
}

#[test]
fn only_an_authenticated_call_merges() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    person(2, "b@x", &mut known);
    known.keys.insert(("customer_id".into(), "7".into()), id(2));
    known
        .visitors
        .insert(VisitorId(Uuid::from_u128(9)), bound(2, true));
    let mut resolver = resolver(known, &unique);
    let public = hit(&[("email", "a@x"), ("customer_id", "7")]);
    assert_eq!(resolver.whose(&public), Some(id(1)));
    let mut authenticated = hit(&[("email", "a@x"), ("customer_id", "7")]);
    authenticated.authority = Authority::Authenticated;
    assert_eq!(resolver.whose(&authenticated), Some(id(1)));
    let mut later = hit(&[]);
    later.visitor_id = visitor(9);
    assert_eq!(resolver.whose(&later), Some(id(1)));
    assert_eq!(resolver.finish().merges, [(id(2), id(1))]);
}

#[test]
fn a_bot_binds_no_visitor() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    known
        .broadlogs
        .insert(BroadlogId(5), (id(1), DeliveryId(3)));
    let mut resolver = resolver(known, &unique);
    let mut click = hit(&[]);
    click.broadlog_id = Some(BroadlogId(5));
    click.provenance = Provenance::Link;
    click.visitor_id = visitor(9);
    click.verdict = Verdict::Bot;
    assert_eq!(resolver.whose(&click), Some(id(1)));
    assert!(resolver.finish().visitors.is_empty());
}

#[test]
fn an_unsigned_message_names_the_person_but_takes_no_browser_over() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    person(2, "b@x", &mut known);
    known
        .broadlogs
        .insert(BroadlogId(5), (id(1), DeliveryId(3)));
    known.message_keys.insert("mautic:5".into(), BroadlogId(5));
    known
        .visitors
        .insert(VisitorId(Uuid::from_u128(9)), bound(2, true));
    let mut resolver = resolver(known, &unique);
    for browser in [8, 9] {
        let mut click = hit(&[]);
        click.foreign_mut().message_key = Some("mautic:5".into());
        click.visitor_id = visitor(browser);
        let finding = resolver.find(&click);
        assert_eq!(finding.contact, Some(id(1)));
        assert_eq!(finding.message, Some(MESSAGE));
        assert_eq!(finding.delivery, Some(DeliveryId(3)));
    }
    let visitors: Vec<_> = resolver.finish().visitors.into_iter().collect();
    assert_eq!(visitors, [(VisitorId(Uuid::from_u128(8)), bound(1, false))]);
}

#[test]
fn a_message_in_a_pages_address_names_nobody_in_a_known_browser() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    person(2, "b@x", &mut known);
    known
        .broadlogs
        .insert(BroadlogId(5), (id(1), DeliveryId(3)));
    known.message_keys.insert("mautic:5".into(), BroadlogId(5));
    known
        .visitors
        .insert(VisitorId(Uuid::from_u128(7)), bound(1, true));
    known
        .visitors
        .insert(VisitorId(Uuid::from_u128(9)), bound(2, true));
    let mut resolver = resolver(known, &unique);
    for (browser, person, message) in [(7, 1, Some(MESSAGE)), (8, 1, Some(MESSAGE)), (9, 2, None)] {
        let mut page = hit(&[]);
        let foreign = page.foreign_mut();
        foreign.message_key = Some("mautic:5".into());
        foreign.is_from_page = true;
        page.visitor_id = visitor(browser);
        page.delivery_id = Some(DeliveryId(99));
        page.provenance = Provenance::Claimed;
        let finding = resolver.find(&page);
        assert_eq!(finding.contact, Some(id(person)), "{browser}");
        assert_eq!(finding.message, message);
        assert_eq!(finding.delivery, message.map(|_| DeliveryId(3)));
        let told = message.map_or("message of somebody else", |_| "");
        assert_eq!(notes(&finding), told);
    }
    let visitors: Vec<_> = resolver.finish().visitors.into_iter().collect();
    assert_eq!(visitors, [(VisitorId(Uuid::from_u128(8)), bound(1, false))]);
}

#[test]
fn a_recipient_names_an_existing_contact_and_sets_nothing() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "a@x", &mut known);
    person(2, "b@x", &mut known);
    known
        .broadlogs
        .insert(BroadlogId(5), (id(2), DeliveryId(3)));
    let mut resolver = resolver(known, &unique);
    for (field, value, expected) in [
        ("email", " A@x", Some(id(1))),
        ("email", "nobody@x", Some(id(2))),
        ("firstname", "a", Some(id(2))),
    ] {
        let mut tagged = hit(&[]);
        tagged.broadlog_id = Some(BroadlogId(5));
        tagged.provenance = Provenance::Session;
        tagged.foreign_mut().recipient = Some((field.into(), value.into()));
        assert_eq!(resolver.whose(&tagged), expected);
    }
    let changes = resolver.finish();
    assert_eq!(changes, Changes::default());
}

/// What a browser says of its person must be written also where the hit that made it the person's
/// stands in the same batch.
#[test]
fn a_contact_is_loaded_for_a_visitor_that_another_hit_of_the_batch_binds() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "ada@x", &mut known);
    person(2, "bea@x", &mut known);
    known
        .broadlogs
        .insert(BroadlogId(5), (id(1), DeliveryId(3)));
    known
        .broadlogs
        .insert(BroadlogId(6), (id(2), DeliveryId(3)));
    let of = |browser, message, fields: &[(&str, &str)]| {
        let mut hit = hit(fields);
        hit.visitor_id = visitor(browser);
        hit.broadlog_id = message;
        hit
    };
    let hits = [
        of(8, Some(BroadlogId(5)), &[]),
        of(8, None, &[("firstname", "Ada")]),
        of(9, Some(BroadlogId(6)), &[]),
    ];
    let ids = contacts_to_load(&unique, &known, hits.iter().map(Evidence::from));
    assert_eq!(ids, BTreeSet::from([id(1)]));
}

#[test]
fn a_unique_value_that_names_nobody_is_left_over_and_another_is_tidied() {
    let unique = unique();
    let mut resolver = resolver(Known::default(), &unique);
    let fields = [("email", "undefined"), ("firstname", "undefined")];
    let nobody = hit(&fields);
    let finding = resolver.find(&nobody);
    assert_eq!(finding.contact, None);
    assert_eq!(left(&finding), fields);
    assert_eq!(notes(&finding), "email no address");
    let wide = hit(&[("email", "ａｄａ＠Example.com")]);
    let finding = resolver.find(&wide);
    assert_eq!(notes(&finding), "");
    let ada = resolver.contact(finding.contact.unwrap()).unwrap();
    assert_eq!(ada.fields["email"], "ada@Example.com");
    let mut tagged = hit(&[]);
    tagged.foreign_mut().recipient = Some(("email".into(), "undefined".into()));
    let finding = resolver.find(&tagged);
    assert_eq!(left(&finding), [("email", "undefined")]);
    assert_eq!(notes(&finding), "recipient's email no address");
}
