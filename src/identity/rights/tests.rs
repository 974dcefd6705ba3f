//! Every cell of the table, tried on the resolver, and the page that shows it. What is expected is
//! read from the page: a cell that is changed in one place only fails here.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::identity::{Binding, Contact, Evidence, Known, Resolver};
use crate::model::clock::Micros;
use crate::model::hit::{
    Authority, BroadlogId, ContactId, DeliveryId, Dialect, Hit, HitId, Kind, LeastProof, Proof,
    Provenance, TagChange, VisitorId,
};

const PAGE: &str = include_str!("../../../static/docs/identity.md");

/// Whom the standing names, and somebody else.
const ADA: ContactId = ContactId(Uuid::from_u128(1));
const BEA: ContactId = ContactId(Uuid::from_u128(2));
const BROWSER: VisitorId = VisitorId(Uuid::from_u128(9));

/// Cells of the page's lines with so many columns, trimmed.
fn lines(columns: usize) -> Vec<Vec<&'static str>> {
    PAGE.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .filter(|cells| cells.len() == columns)
        .collect()
}

#[test]
fn the_page_shows_the_table() {
    let mut head = vec!["what names the person"];
    head.extend(COLUMNS.iter().map(|(_, name)| *name));
    let mut expected = vec![head];
    for (standing, cells) in TABLE {
        let mut line = vec![standing.as_str()];
        line.extend(cells.iter().map(|may| may.as_str()));
        expected.push(line);
    }
    assert_eq!(lines(1 + CHANGES), expected);
    for (index, (change, _)) in COLUMNS.iter().enumerate() {
        assert_eq!(*change as usize, index);
    }
    for (index, (standing, _)) in TABLE.iter().enumerate() {
        assert_eq!(*standing as usize, index);
    }
}

#[test]
fn the_page_shows_the_surfaces() {
    for (surface, fields) in SURFACES {
        let line = format!("| {surface} | {fields} |");
        assert!(PAGE.contains(&line), "{line}");
    }
}

#[test]
fn the_page_shows_what_makes_revenue() {
    use Proof::{Claimed, Link, Sender, Session, Unsigned};
    let told: Vec<_> = lines(3)
        .into_iter()
        .skip_while(|line| line[0] != "`proof`")
        .skip(1)
        .map(|line| (line[0].trim_matches('`').to_owned(), line[2]))
        .collect();
    let least = LeastProof::default();
    let expected = [Link, Session, Sender, Unsigned, Claimed].map(|proof| {
        let is_revenue = if least.admits(Some(proof)) {
            "yes"
        } else {
            "no"
        };
        (proof.as_str().to_owned(), is_revenue)
    });
    assert_eq!(told, expected);
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn person(known: &mut Known, id: ContactId, customer: &str, email: &str) {
    for (field, value) in [("customer_id", customer), ("email", email)] {
        known.keys.insert((field.into(), value.into()), id);
    }
    known.ids.insert(id, id);
    let fields = BTreeMap::from([
        field("customer_id", customer),
        field("email", email),
        field("full", "as it was"),
    ]);
    let contact = Contact {
        fields,
        tags: vec!["had".to_owned()],
        made_by: None,
    };
    known.contacts.insert(id, contact);
}

/// A hit that names Ada by this standing and by nothing else, and what is known for it. `is_new`:
/// what it names is nobody's yet.
fn scene(standing: Standing, is_new: bool) -> (Known, Hit) {
    let mut known = Known::default();
    person(&mut known, ADA, "1", "ada@x.example");
    person(&mut known, BEA, "2", "bea@x.example");
    known.broadlogs.insert(BroadlogId(5), (ADA, DeliveryId(3)));
    let id = HitId(Uuid::nil());
    let mut hit = Hit::new(id, Micros(0), Kind::Pageview, Dialect::Native);
    hit.visitor_id = Some(BROWSER);
    let mut bind = |is_proved| {
        let contact = ADA;
        if !is_new {
            known
                .visitors
                .insert(BROWSER, Binding { contact, is_proved });
        }
    };
    let message = BroadlogId(if is_new { 6 } else { 5 });
    let customer = field("customer_id", if is_new { "3" } else { "1" });
    match standing {
        Standing::SenderById => {
            hit.contact_id = Some(if is_new {
                ContactId(Uuid::from_u128(3))
            } else {
                ADA
            });
        }
        Standing::SenderByField | Standing::PublicField => hit.fields.push(customer),
        Standing::FormField => {
            hit.kind = Kind::Form;
            hit.fields.push(customer);
        }
        Standing::SenderByMessage | Standing::Link => {
            hit.broadlog_id = Some(message);
            hit.provenance = Provenance::Link;
        }
        Standing::Session => {
            hit.broadlog_id = Some(message);
            hit.provenance = Provenance::Session;
        }
        Standing::Unsigned => {
            hit.broadlog_id = Some(message);
            hit.provenance = Provenance::Unsigned;
        }
        Standing::SenderByVisitor | Standing::Visitor => bind(true),
        Standing::SenderByClaimedVisitor | Standing::ClaimedVisitor => bind(false),
        Standing::Maker => {
            if !is_new {
                hit.fields.push(customer);
                if let Some(ada) = known.contacts.get_mut(&ADA) {
                    ada.made_by = Some(BROWSER);
                }
            }
        }
        Standing::PageField => hit.foreign_mut().page_fields.push(customer),
        Standing::Recipient => hit.foreign_mut().recipient = Some(customer),
        Standing::Nobody => {
            hit.delivery_id = Some(DeliveryId(3));
            hit.broadlog_id = Some(message);
            hit.provenance = Provenance::Claimed;
        }
    }
    if standing <= Standing::SenderByClaimedVisitor {
        hit.authority = Authority::Authenticated;
    }
    (known, hit)
}

/// Makes a hit by this standing try this change, and says what came of it.
fn tried(standing: Standing, change: Change) -> May {
    let (mut known, mut hit) = scene(standing, change == Change::Make);
    let mut add = |name, value| match standing {
        Standing::PageField => hit.foreign_mut().page_fields.push(field(name, value)),
        _ => hit.fields.push(field(name, value)),
    };
    match change {
        Change::Make | Change::Bind | Change::Complete => {}
        Change::Fill => add("empty", "new"),
        Change::Overwrite => add("full", "new"),
        Change::AddUnique => add("phone", "7"),
        Change::ReplaceUnique => add("email", "new@x.example"),
        Change::Merge => add("email", "bea@x.example"),
        Change::AddTag | Change::RemoveTag => hit.tags.push(TagChange {
            name: if change == Change::AddTag {
                "new"
            } else {
                "had"
            }
            .to_owned(),
            remove: change == Change::RemoveTag,
        }),
        Change::TakeOver => {
            let is_proved = true;
            let binding = Binding {
                contact: BEA,
                is_proved,
            };
            known.visitors.entry(BROWSER).or_insert(binding);
        }
    }
    let unique = ["customer_id", "email", "phone"].map(str::to_owned);
    let mut next = 100;
    let mut resolver = Resolver::new(&unique, known, || {
        next += 1;
        Uuid::from_u128(next)
    });
    let finding = resolver.resolve(&Evidence::from(&hit));
    let contact = finding.contact;
    let ada = &resolver.contact(ADA).unwrap().clone();
    let has_bea = resolver.contact(BEA).is_some();
    let changes = resolver.finish();
    assert_eq!(has_bea, changes.merges.is_empty());
    let is_new = |id: &ContactId| *id != ADA && *id != BEA;
    let is_done = match change {
        Change::Make => changes.contacts.keys().any(is_new),
        Change::Fill => ada.fields.contains_key("empty"),
        Change::Overwrite => ada.fields["full"] == "new",
        Change::AddUnique => changes.keys.get(&field("phone", "7")) == Some(&ADA),
        Change::ReplaceUnique => ada.fields["email"] == "new@x.example",
        Change::AddTag => ada.tags.iter().any(|tag| tag == "new"),
        Change::RemoveTag => ada.tags.is_empty(),
        Change::Complete => changes.completed.contains_key(&BROWSER),
        Change::Merge => !changes.merges.is_empty(),
        Change::Bind | Change::TakeOver => {
            return match changes.visitors.get(&BROWSER) {
                Some(binding) if binding.contact != ADA => panic!("{binding:?}"),
                Some(binding) if binding.is_proved => May::Yes,
                Some(_) => May::AsClaim,
                None => May::No,
            };
        }
    };
    let left = &finding.leftovers;
    let is_told = left.iter().any(|left| left.note.is_some()) || contact != Some(ADA);
    let is_write = (Change::Fill..=Change::RemoveTag).contains(&change);
    if !is_done && is_write {
        assert!(is_told, "what is refused is told");
        let added = matches!(change, Change::AddTag | Change::RemoveTag);
        let is_kept = added || contact != Some(ADA) || left.iter().any(|left| left.field.is_some());
        assert!(is_kept, "what is refused is kept");
        assert!(
            !changes.contacts.contains_key(&ADA),
            "nothing of it changed"
        );
    }
    if is_done { May::Yes } else { May::No }
}

#[test]
fn every_cell_of_the_page_is_what_the_resolver_does() {
    let page = lines(1 + CHANGES);
    let mut wrong = Vec::new();
    for (line, (standing, _)) in page[1..].iter().zip(TABLE) {
        for (said, (change, _)) in line[1..].iter().zip(COLUMNS) {
            let done = tried(standing, change);
            if done.as_str() != *said {
                wrong.push(format!(
                    "{standing:?} {change:?}: page {said}, does {done:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is bound to a vendor's id is never proved, whatever bound it and whatever an older server
/// has stored.
#[test]
fn a_derived_visitor_is_bound_as_a_claim_at_most() {
    let vendors = VisitorId(uuid::Builder::from_custom_bytes([7; 16]).into_uuid());
    assert!(vendors.is_derived());
    let unique = vec!["customer_id".to_owned()];
    for (standing, _) in TABLE {
        let (mut known, mut hit) = scene(standing, false);
        hit.visitor_id = Some(vendors);
        if let Some(binding) = known.visitors.remove(&BROWSER) {
            // As a server of before stored it.
            let is_proved = true;
            known.visitors.insert(
                vendors,
                Binding {
                    is_proved,
                    ..binding
                },
            );
        }
        hit.fields.push(field("full", "new"));
        let is_public = hit.authority == Authority::Public;
        let mut resolver = Resolver::new(&unique, known, Uuid::nil);
        resolver.resolve(&Evidence::from(&hit));
        let is_changed = resolver.contact(ADA).unwrap().fields["full"] == "new";
        let changes = resolver.finish();
        let bound = changes.visitors.get(&vendors);
        assert!(bound.is_none_or(|bound| !bound.is_proved), "{standing:?}");
        let by_visitor = matches!(
            standing,
            Standing::Visitor | Standing::SenderByVisitor | Standing::ClaimedVisitor
        );
        assert!(!(by_visitor && is_changed), "{standing:?}");
        assert!(!is_changed || !is_public || standing <= Standing::Maker);
    }
}
