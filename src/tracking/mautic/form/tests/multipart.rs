//! Forms that are posted in parts, whole and broken.

use super::*;

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

proptest! {
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
}
