//! Whatever is posted, nobody is sent to a foreign host, no page of ours runs it, and the hit fits
//! the database.

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

fn multipart(parts: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, file, content) in parts {
        let file = file.map_or(String::new(), |file| format!("; filename=\"{file}\""));
        body += &format!(
            "--B\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\nContent-Length: \
            {}\r\n\r\n{content}\r\n",
            content.len()
        );
    }
    body + "--B--\r\n"
}

const MULTIPART: Option<&str> = Some("multipart/form-data; boundary=B");

#[test]
fn multipart_is_read_and_files_are_not_kept() {
    let body = multipart(&[
        ("mauticform[email]", None, "a@b.example"),
        ("mauticform[topics][0]", None, "lamps"),
        ("mauticform[topics][1]", None, "chairs"),
        ("mauticform[cv]", Some("cv.pdf"), "%PDF-secret"),
    ]);
    let post = Post::read(MULTIPART, &body.into()).unwrap();
    let Submission { hit, .. } = submitted(&post, &[]).unwrap();
    let extra = hit.extra.unwrap();
    assert_eq!(extra["topics"], "lamps, chairs");
    assert_eq!(extra["cv"], "cv.pdf");
    assert_eq!(hit.reason.as_deref(), Some("file not stored"));
    assert!(!Value::Object(extra).to_string().contains("secret"));
}

#[test]
fn broken_multipart_is_refused() {
    let whole = multipart(&[("mauticform[email]", None, "a@b.example")]);
    for (kind, body, error) in [
        (
            MULTIPART,
            &whole[..whole.len() - 10],
            Unreadable::Incomplete,
        ),
        (MULTIPART, "", Unreadable::Incomplete),
        (
            Some("multipart/form-data; boundary=C"),
            &whole,
            Unreadable::Incomplete,
        ),
        (Some("multipart/form-data"), &whole, Unreadable::Boundary),
        (
            Some("Multipart/mixed; boundary=B"),
            &whole,
            Unreadable::Boundary,
        ),
    ] {
        assert_eq!(
            Post::read(kind, &Bytes::copy_from_slice(body.as_bytes())),
            Err(error),
            "{kind:?} {body}"
        );
    }
    let large = "x".repeat(MOST_TEXT);
    let body = multipart(&[("mauticform[letter]", None, &large)]);
    assert_eq!(
        Post::read(MULTIPART, &body.into()),
        Err(Unreadable::TooLarge)
    );
}

#[test]
fn of_too_many_fields_the_first_thousand_are_read() {
    let names: Vec<String> = (0..2_000).map(|n| format!("mauticform[f{n}]")).collect();
    let parts: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), None, "x"))
        .collect();
    let post = Post::read(MULTIPART, &multipart(&parts).into()).unwrap();
    assert!(post.is_cut);
    assert_eq!(
        (post.values("f999").len(), post.values("f1000").len()),
        (1, 0)
    );
}

#[test]
fn answers_are_merged_into_the_page() {
    let (taken, form) = (Map::new(), form());
    let thanks = "mauticMessage=Danke%20%26%20%3Cb%3Ebis%20bald%3C%2Fb%3E";
    let wrong = [FieldError {
        alias: "email".into(),
        message: "E-mail is required.".into(),
    }];
    for (page, referer, said, location) in [
        (
            "https://a.shop.example/?x=1&mauticError=old&y=%20#f",
            "",
            Said::Taken(&taken),
            Some(format!("https://a.shop.example/?x=1&y=%20&{thanks}#f")),
        ),
        (
            "https://evil.example/",
            "https://a.shop.example/",
            Said::Taken(&taken),
            Some(format!("https://www.example.com/thanks?a=1&{thanks}#top")),
        ),
        (
            "",
            "https://a.shop.example/form",
            Said::Taken(&taken),
            Some(format!("https://a.shop.example/form?{thanks}")),
        ),
        (
            "https://a.shop.example/form",
            "",
            Said::Wrong(&wrong),
            Some(
                "https://a.shop.example/form?mauticError=E-mail%20is%20required.#mauticform_newsletter"
                    .to_owned(),
            ),
        ),
        // Thanks stand on the form's own page, mistakes do not.
        ("https://evil.example/", "", Said::Wrong(&wrong), None),
    ] {
        let post = posted(&[("mauticform[return]", page)]);
        let headers = headers(&[("referer", referer)]);
        assert_eq!(
            return_location(&form, &post, &inbound(&headers), said),
            location,
            "{page}"
        );
    }
}

#[test]
fn the_answer_as_json_has_mautics_members() {
    let mut form = form();
    let post = posted(&[("mauticform[formName]", "<x>")]);
    let mut results = Map::new();
    results.insert("email".into(), "a@b.example".into());
    assert_eq!(
        json(&form, &post, Said::Taken(&results)),
        serde_json::json!({
            "success": 1, "results": { "email": "a@b.example" }, "successMessage": "Danke & <b>bis bald</b>",
            "formName": "newsletter",
        })
    );
    form.success_message = None;
    assert_eq!(
        json(&form, &post, Said::Taken(&results))["redirect"],
        "https://www.example.com/thanks?a=1#top"
    );
    let errors = [FieldError {
        alias: "email".into(),
        message: "E-mail is required.".into(),
    }];
    assert_eq!(
        json(&form, &post, Said::Wrong(&errors)),
        serde_json::json!({
            "success": 0, "validationErrors": { "email": "E-mail is required." }, "formName": "newsletter",
        })
    );
}

/// The text of the first string in a call of `postMessage`, read as a browser would.
fn posted_message(page: &str) -> Option<Value> {
    let call = page.split_once("parent.postMessage(")?.1;
    let mut strings = serde_json::Deserializer::from_str(call).into_iter::<String>();
    let text = strings.next()?.ok()?;
    serde_json::from_str(&text).ok()
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
    fn any_body_is_read_or_refused(kind in "(multipart/form-data; \
        ?boundary=[-\"'A-Z]{0,5}|text/plain)?", body: Vec<u8>) {
        let _ = Post::read(Some(&kind), &body.into());
    }

    #[test]
    fn bytes_changed_in_multipart_do_no_harm(at in 0_usize..600, byte: u8, cut in 0_usize..600, insert in "(--B|--B--|\r\n|Content-Disposition: |\0|;name=)") {
        let mut body = multipart(&[
            ("mauticform[email]", None, "a@b.example"),
            ("mauticform[topics][]", None, "lamps"),
            ("mauticform[cv]", Some("cv.pdf"), "%PDF"),
        ]).into_bytes();
        let place = at % body.len();
        body[place] = byte;
        body.splice(place..place, insert.bytes());
        body.truncate(body.len().saturating_sub(cut % 40));
        if let Ok(post) = Post::read(MULTIPART, &body.into()) {
            let _ = submitted(&post, &[]);
        }
    }

    #[test]
    fn nobody_is_sent_to_a_foreign_host(
        url in "(https?:|javascript:|data:|)(//|\\\\\\\\|/|)([a-z@:.%\\\\\t]{0,12}|www\\.example\\.com|shop\\.example|a\\.shop\\.example|evil\\.example)[@/\\\\?#.:]?(evil\\.example|www\\.example\\.com|a\\.shop\\.example)?[/?#&=a-z%0-9]{0,20}",
        referer in "[ -~]{0,40}",
        is_taken: bool,
    ) {
        let form = form();
        let post = posted(&[("mauticform[return]", &url)]);
        let headers = headers(&[("referer", &referer)]);
        let taken = Map::new();
        let said = if is_taken { Said::Taken(&taken) } else { Said::Failed("no") };
        if let Some(location) = return_location(&form, &post, &inbound(&headers), said) {
            prop_assert!(HeaderValue::try_from(&location).is_ok(), "{location}");
            let to = Url::parse(&location).unwrap();
            prop_assert!(["http", "https"].contains(&to.scheme()));
            // A dot at the end says nothing: it is the same host.
            let host = to.host_str().unwrap();
            let host = host.strip_suffix('.').unwrap_or(host);
            prop_assert!(host == "www.example.com" || host.ends_with(".shop.example"), "{url} led to {location}");
        }
    }

    #[test]
    fn a_message_is_data_wherever_it_stands(value in "(</script>|<!--|-->|'|\"|\\\\|\u{2028}|\u{2029}|\n|&|.){0,20}") {
        let form = form();
        let post = posted(&[("mauticform[email]", "a@b.example"), ("mauticform[firstname]", &value), ("mauticform[formName]", &value)]);
        let Ok(Submission { results, .. }) = submitted(&post, &[]) else { return Ok(()) };
        let said = Said::Taken(&results);
        let answer = json(&form, &post, said);
        let page = messenger_page(&form, &answer, said, Some("https://a.shop.example"));
        prop_assert_eq!(page.matches("<script").count(), 1);
        prop_assert_eq!(page.matches("</script").count(), 1);
        let is_safe = !page.contains("<!--") && !page.contains('\u{2028}') && !page.contains("<b>");
        prop_assert!(is_safe, "{page:?}");
        prop_assert_eq!(posted_message(&page), Some(answer));
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
