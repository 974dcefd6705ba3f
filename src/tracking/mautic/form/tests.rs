//! Whatever is posted, nobody is sent to a foreign host, no page of ours runs it, and the hit fits
//! the database.

mod answers;
mod multipart;

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use url::Url;

use super::answer::{Said, json, messenger_page, return_location};
use super::post::parse_name;
use super::*;
use crate::model::clock::Micros;
use crate::model::form::FormField;
use crate::model::hit::VisitorId;
use crate::model::keys::{Keys, Purpose};
use crate::model::site::Site;
use crate::tracking::multipart::{MOST_TEXT, Unreadable};
use crate::tracking::visitor::foreign_visitor;

const NOW: Micros = Micros(1_795_000_000_000_000);
const URLENCODED: Option<&str> = Some("application/x-www-form-urlencoded");

fn rules() -> Rules {
    Rules::new(Keys::parse(&[format!("1:{}", "k".repeat(32))]).unwrap())
}

fn field(alias: &str, kind: FieldKind, contact_field: Option<&str>) -> FormField {
    FormField {
        alias: alias.into(),
        label: String::new(),
        kind,
        required: alias == "email",
        required_if: None,
        options: Vec::new(),
        placeholder: None,
        default: None,
        contact_field: contact_field.map(Into::into),
    }
}

fn form() -> Form {
    Form {
        name: "</script><b>Newsletter & more".into(),
        alias: "newsletter".into(),
        fields: vec![
            field("email", FieldKind::Email, Some("email")),
            field("firstname", FieldKind::Text, Some("firstname")),
            field("letter", FieldKind::Textarea, Some("letter")),
            field("topics", FieldKind::Checkbox, None),
            field("cv", FieldKind::File, None),
        ],
        return_url: Some("https://www.example.com/thanks?a=1#top".into()),
        allowed_hosts: vec!["*.shop.example".into()],
        submit_label: None,
        success_message: Some("Danke & <b>bis bald</b>".into()),
        error_message: None,
        ended_at: None,
        end_url: None,
    }
    .check()
    .unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers: HeaderMap = pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect();
    headers.insert(
        "user-agent",
        HeaderValue::from_static(
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
    );
    headers
}

fn inbound(headers: &HeaderMap) -> Inbound<'_> {
    Inbound {
        site: Site::usual(),
        method: &Method::POST,
        target: "/form/submit",
        rest: "",
        is_repaired: false,
        query: "formId=3",
        headers,
        body: b"",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_forwarded: false,
        is_trusted_sender: false,
        received_at: NOW,
        new_visitor: VisitorId(uuid::Uuid::nil()),
    }
}

fn posted(pairs: &[(&str, &str)]) -> Post {
    let body: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    Post::read(URLENCODED, &body.into()).unwrap()
}

fn submitted(post: &Post, heads: &[(&str, &str)]) -> Result<Submission, Vec<FieldError>> {
    submit(
        &inbound(&headers(heads)),
        &rules(),
        FormId(3),
        &form(),
        post,
    )
}

#[test]
fn names_are_read_as_php_reads_them() {
    for (name, alias, is_list) in [
        ("mauticform[email]", "email", false),
        ("mauticform[topics][]", "topics", true),
        ("mauticform[topics][0]", "topics", true),
        ("mauticform[topics][a][b]", "topics", true),
        ("mauticform[a b]", "a b", false),
        ("mauticform[a]x[b]", "a", false),
        ("mauticform[a][b", "a", false),
        ("mauticform[a[b]", "a[b", false),
    ] {
        assert_eq!(
            parse_name(name).map(|name| (name.alias, name.is_list)),
            Some((alias, is_list)),
            "{name}"
        );
    }
    for name in [
        "",
        "email",
        "mauticform",
        "mauticform[",
        "mauticform[]",
        "mauticform[email",
        "Mauticform[email]",
        "xmauticform[email]",
    ] {
        assert_eq!(parse_name(name), None, "{name}");
    }
}

#[test]
fn a_submission_becomes_a_hit_with_its_fields() {
    let post = posted(&[
        ("mauticform[email]", "old@example.com"),
        ("mauticform[email]", "Ada@Example.com"),
        ("mauticform[firstname]", "Ada"),
        ("mauticform[letter]", "one\r\ntwo\0\r\n"),
        ("mauticform[topics][]", "lamps"),
        ("mauticform[topics][]", "chairs"),
        ("mauticform[hacked]", "yes"),
        ("mauticform[submit]", ""),
        ("mauticform[formId]", "3"),
        (
            "mauticform[return]",
            "https://a.shop.example/?utm_campaign=autumn",
        ),
        ("g-recaptcha-response", "x"),
    ]);
    let Submission { hit, results } = submitted(&post, &[]).unwrap();
    assert_eq!((hit.kind, hit.dialect), (Kind::Form, Dialect::Mautic));
    assert_eq!(
        hit.fields,
        [
            ("email".to_owned(), "Ada@Example.com".to_owned()),
            ("firstname".to_owned(), "Ada".to_owned()),
            ("letter".to_owned(), "one\ntwo".to_owned()),
        ]
    );
    assert_eq!(
        Value::Object(hit.extra.unwrap()),
        serde_json::json!({
            "form_id": "3", "email": "Ada@Example.com", "firstname": "Ada", "letter": "one\ntwo",
            "topics": "lamps, chairs", "mauticform[hacked]": "yes", "g-recaptcha-response": "x",
        })
    );
    assert_eq!(
        hit.reason.as_deref(),
        Some("field repaired; unknown fields")
    );
    assert_eq!(hit.utm.campaign.as_deref(), Some("autumn"));
    assert_eq!(results["topics"], "lamps, chairs");
    assert_eq!(results.len(), 5, "an empty one for each field left out");
}

#[test]
fn wrong_fields_are_told_without_what_was_posted() {
    let post = posted(&[("mauticform[email]", "<script>alert(1)</script>")]);
    let errors = submitted(&post, &[]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (errors[0].alias.as_str(), errors[0].message.as_str()),
        ("email", "email is not a valid e-mail address.")
    );
}

#[test]
fn a_relaying_site_passes_its_visitor_on() {
    let rules = rules();
    let id = Uuid::from_u128(7);
    let sealed = rules.keys.seal(Purpose::Visitor, &id.simple().to_string());
    let cookie = format!("mautic_device_id={sealed}");
    let mut fields = vec![("mauticform[email]", "a@b.example")];
    let by_cookie = submitted(&posted(&fields), &[("cookie", &cookie)]).unwrap();
    assert_eq!(by_cookie.hit.visitor_id, Some(VisitorId(id)));
    fields.push(("mautic_device_id", &sealed));
    let by_part = submitted(&posted(&fields), &[]).unwrap();
    assert_eq!(by_part.hit.visitor_id, Some(VisitorId(id)));
    assert_eq!(by_part.hit.reason, None);
    // An id that Mautic once gave stands for a visitor of its own.
    fields[1].1 = "6txmz3mu2dslmkhrera668e";
    let old = submitted(&posted(&fields), &[]).unwrap();
    assert_eq!(
        old.hit.visitor_id,
        Some(foreign_visitor("mautic", "6txmz3mu2dslmkhrera668e"))
    );
}

proptest! {
    #[test]
    fn a_name_is_read_or_is_none(name: String, inner in "[a-z\\[\\]]{0,20}") {
        let _ = parse_name(&name);
        if let Some(read) = parse_name(&format!("mauticform{inner}")) {
            prop_assert!(!read.alias.is_empty() && !read.alias.contains(']'));
        }
    }

    #[test]
    fn whatever_is_posted_fits_the_database(pairs in proptest::collection::vec(("(mauticform\\[(email|firstname|letter|topics|x|return)\\](\\[\\])?|.{0,20})", ".{0,300}"), 0..20)) {
        let mut pairs = pairs;
        pairs.push(("mauticform[email]".into(), "a@b.example".into()));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Ok(Submission { hit, .. }) = submitted(&posted(&pairs), &[]) {
            for (name, value) in hit.extra.iter().flatten() {
                let text = value.as_str().unwrap();
                prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{name}: {text:?}");
                let is_line = ["email", "firstname", "topics"].contains(&name.as_str());
                prop_assert!(!is_line || !text.contains('\n'));
            }
            for (name, value) in &hit.fields {
                let is_break = |c: char| name == "letter" && c == '\n';
                prop_assert!(value.chars().count() <= 500 && !value.chars().any(|c| c.is_control() && !is_break(c)));
            }
            prop_assert!(hit.page_url.is_none_or(|url| url.chars().count() <= 8_000));
        }
    }
}
