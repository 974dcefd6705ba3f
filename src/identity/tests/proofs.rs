//! What is proved of a browser's person and what is only said: who may write what a contact has.

use super::*;

/// A claim that is remembered does not become a proof: what a browser said of itself gives it no
/// right later.
#[test]
fn a_browser_that_only_said_who_it_is_never_counts_as_proof_of_it() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "ada@x", &mut known);
    let mut resolver = resolver(known, &unique);
    let mut claims = hit(&[("email", "ada@x"), ("firstname", "EVIL")]);
    claims.visitor_id = visitor(9);
    assert_eq!(resolver.whose(&claims), Some(id(1)));
    for fields in [&[("firstname", "MORE")][..], &[("customer_id", "7")]] {
        let mut later = hit(fields);
        later.visitor_id = visitor(9);
        later.tags = vec![TagChange {
            name: "evil".into(),
            remove: false,
        }];
        resolver.whose(&later);
    }
    let mut sender = hit(&[("firstname", "said of the browser")]);
    sender.authority = Authority::Authenticated;
    sender.visitor_id = visitor(9);
    resolver.whose(&sender);
    let changes = resolver.finish();
    let ada = &changes.contacts[&id(1)];
    assert_eq!(ada.fields["firstname"], "EVIL", "it was empty");
    assert!(ada.tags.is_empty());
    let key = ("customer_id".to_owned(), "7".to_owned());
    assert_ne!(changes.keys[&key], id(1));
    assert!(!changes.visitors[&VisitorId(Uuid::from_u128(9))].is_proved);
}

#[test]
fn a_claim_becomes_a_proof_where_a_signed_link_or_a_sender_says_the_same() {
    let unique = unique();
    for is_sender in [false, true] {
        let mut known = Known::default();
        person(1, "ada@x", &mut known);
        known
            .broadlogs
            .insert(BroadlogId(5), (id(1), DeliveryId(3)));
        known
            .visitors
            .insert(VisitorId(Uuid::from_u128(9)), bound(1, false));
        let mut resolver = resolver(known, &unique);
        let mut proof = if is_sender {
            hit(&[("email", "ada@x")])
        } else {
            hit(&[])
        };
        if is_sender {
            proof.authority = Authority::Authenticated;
        } else {
            proof.broadlog_id = Some(BroadlogId(5));
            proof.provenance = Provenance::Link;
        }
        proof.visitor_id = visitor(9);
        assert_eq!(resolver.whose(&proof), Some(id(1)));
        let changes = resolver.finish();
        assert_eq!(
            changes.visitors[&VisitorId(Uuid::from_u128(9))],
            bound(1, true)
        );
        assert!(changes.completed.is_empty());
    }
}

#[test]
fn what_the_public_made_is_its_makers_until_a_sender_names_it() {
    let unique = unique();
    let mut resolver = resolver(Known::default(), &unique);
    let mut say = |browser: u128, fields: &[(&str, &str)], tag: &str, authority| {
        let mut said = hit(fields);
        said.visitor_id = visitor(browser);
        said.authority = authority;
        said.tags = vec![TagChange {
            name: tag.into(),
            remove: false,
        }];
        let finding = resolver.find(&said);
        let contact = resolver.contact(finding.contact.unwrap()).unwrap();
        (contact.clone(), notes(&finding))
    };
    let ada = ("email", "ada@x");
    let by = Authority::Public;
    let (made, _) = say(8, &[ada, ("firstname", "Ada")], "a", by);
    assert_eq!(made.made_by, visitor(8));
    let (other, why) = say(9, &[ada, ("firstname", "Eve"), ("city", "Rome")], "b", by);
    assert_eq!(
        (&*other.fields["firstname"], &*other.fields["city"]),
        ("Ada", "Rome")
    );
    assert_eq!(other.tags, ["a"]);
    assert_eq!(why, "field not proved; tag not proved");
    let (own, why) = say(8, &[("firstname", "Adele"), ("customer_id", "7")], "c", by);
    assert_eq!(
        (&*own.fields["firstname"], &*own.fields["customer_id"]),
        ("Adele", "7")
    );
    assert_eq!((own.tags.len(), why.as_str()), (2, ""));
    let (known, _) = say(7, &[ada], "d", Authority::Authenticated);
    assert_eq!(known.made_by, None);
    let (own, why) = say(8, &[("firstname", "Eve")], "e", by);
    assert_eq!(&*own.fields["firstname"], "Adele");
    assert_eq!(why, "field not proved; tag not proved");
}

#[test]
fn a_signed_session_writes_also_where_the_page_names_the_same_person() {
    let (mut known, unique) = (Known::default(), unique());
    person(1, "ada@x", &mut known);
    known
        .broadlogs
        .insert(BroadlogId(5), (id(1), DeliveryId(3)));
    if let Some(ada) = known.contacts.get_mut(&id(1)) {
        ada.fields.insert("city".into(), "Rome".into());
    }
    let mut resolver = resolver(known, &unique);
    for (provenance, city) in [
        (Provenance::Unsigned, "Rome"),
        (Provenance::Session, "Oslo"),
    ] {
        let mut page = hit(&[("email", "ada@x"), ("city", "Oslo")]);
        page.broadlog_id = Some(BroadlogId(5));
        page.provenance = provenance;
        let finding = resolver.find(&page);
        assert_eq!(finding.contact, Some(id(1)));
        assert_eq!(resolver.contact(id(1)).unwrap().fields["city"], city);
        let is_left = left(&finding) == [("city", "Oslo")];
        assert_eq!(is_left, provenance == Provenance::Unsigned);
    }
}
