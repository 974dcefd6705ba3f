//! Adobe's personal destinations, brought into our form: `https://shop.example/<%=
//! recipient.country %>?c=<%= recipient.id %>` becomes `https://shop.example/{p1}?c={p2}`.
//!
//! Adobe numbers the personal parts in the order in which they first appear and sends their values
//! as `p1`, `p2`, … in each link (`tests/cases/adobe/PROTOCOL.md`). What a reader sends must
//! never decide which host a click goes to, so a destination whose host is personal is refused,
//! unless the operator has listed the hosts that it may become.

use crate::model::host_pattern::HostPattern;
use crate::model::link::{DestinationError, check_personal_template};

/// Most personal parts of one destination.
const MOST_PARTS: usize = 50;

/// Why a source URL cannot become a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `<%` without `%>`.
    #[error("source URL contains <% without a closing %>")]
    Unclosed,
    /// `<% … %>` and `<%@ … %>` are programs of the sending server: no link carries their result.
    #[error("source URL contains code other than a <%= … %> expression")]
    Code,
    /// More than any mail has.
    #[error("source URL has more than {MOST_PARTS} personal parts")]
    Parts,
    /// What is left is not a destination.
    #[error("source URL {0}")]
    Destination(#[from] DestinationError),
}

/// The destination of a source URL; `hosts` are those that a personal host may turn out to be.
///
/// # Errors
/// See [`TemplateError`].
pub fn from_adobe(source: &str, hosts: &[HostPattern]) -> Result<String, TemplateError> {
    let text: String = split(source.trim())?
        .iter()
        .map(|piece| match piece {
            // Braces of the page's own would be taken for ours.
            Piece::Fixed(text) => text.replace('{', "%7B").replace('}', "%7D"),
            Piece::Personal(part) => format!("{{p{part}}}"),
        })
        .collect();
    let url = check_personal_template(&text, hosts)?;
    // In a host escapes are read, so braces that we escaped are back.
    if hosts.is_empty() && origin(&url).contains('{') {
        return Err(DestinationError::PersonalHost.into());
    }
    Ok(url)
}

#[derive(Debug)]
enum Piece<'s> {
    Fixed(&'s str),
    /// Its number, from 1.
    Personal(usize),
}

fn split(source: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let (mut pieces, mut expressions) = (Vec::new(), Vec::<&str>::new());
    let mut rest = source;
    while let Some(at) = rest.find("<%") {
        let (fixed, code) = rest.split_at(at);
        pieces.push(Piece::Fixed(fixed));
        let end = code.find("%>").ok_or(TemplateError::Unclosed)?;
        let expression = code[2..end.max(2)]
            .strip_prefix('=')
            .ok_or(TemplateError::Code)?
            .trim();
        let part = match expressions.iter().position(|had| *had == expression) {
            Some(part) => part,
            None => {
                expressions.push(expression);
                expressions.len() - 1
            }
        };
        if part >= MOST_PARTS {
            return Err(TemplateError::Parts);
        }
        pieces.push(Piece::Personal(part + 1));
        rest = &code[end + 2..];
    }
    pieces.push(Piece::Fixed(rest));
    Ok(pieces)
}

/// What comes before the path.
fn origin(url: &str) -> &str {
    let path = url
        .find("://")
        .and_then(|at| Some(at + 3 + url[at + 3..].find('/')?));
    &url[..path.unwrap_or(url.len())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use url::Url;

    #[test]
    fn personal_parts_are_numbered_in_the_order_in_which_they_first_appear() {
        for (source, expected) in [
            ("https://x.example/", "https://x.example/"),
            (" http://x.example/a?b=1#c ", "http://x.example/a?b=1#c"),
            (
                "https://x.example/<%= recipient.country %>/a?c=<%=recipient.id%>&d=<%= \
                recipient.country %>#<%= x %>",
                "https://x.example/{p1}/a?c={p2}&d={p1}#{p3}",
            ),
            // Braces of the page's own are not ours.
            (
                "https://x.example/{p1}?q={p2}",
                "https://x.example/%7Bp1%7D?q=%7Bp2%7D",
            ),
            ("https://x.example<%= '/a' %>", "refused"),
        ] {
            let got = from_adobe(source, &[]).unwrap_or_else(|_| "refused".to_owned());
            assert_eq!(got, expected, "{source}");
        }
        let many: String = (1..=12).map(|n| format!("<%= v{n} %>-")).collect();
        let url = from_adobe(&format!("https://x.example/{many}qa1z"), &[]).unwrap();
        assert!(
            url.contains("{p1}-{p2}-") && url.ends_with("{p11}-{p12}-qa1z"),
            "{url}"
        );
    }

    #[test]
    fn what_a_reader_could_bend_to_another_host_is_refused() {
        for source in [
            "<%= recipient.url %>",
            "https://<%= recipient.host %>/",
            "https://<%= a %>.shop.example/",
            "https://shop.example<%= a %>/",
            "https://shop.example:<%= port %>/",
            "https://<%= a %>@shop.example/",
            "https:<%= a %>//shop.example/",
            "http<%= s %>://shop.example/",
            "<%= a %>://shop.example/",
            "//<%= a %>/",
            // A host may hold braces.
            "https://shop.example{p1}/",
            "https://shop.example{p1}/<%= a %>",
        ] {
            assert!(from_adobe(source, &[]).is_err(), "{source}");
        }
        assert_eq!(
            from_adobe("https://<%= a %>.shop.example/x", &[]),
            Err(DestinationError::PersonalHost.into())
        );
        assert_eq!(
            from_adobe(
                "https://<%= a %>.shop.example/x",
                &[HostPattern::parse("*.shop.example").unwrap()]
            )
            .unwrap(),
            "https://{p1}.shop.example/x"
        );
    }

    #[test]
    fn what_is_no_destination_is_refused_with_the_reason() {
        for (source, why) in [
            ("https://x.example/<%= a", "without a closing %>"),
            (
                "https://x.example/<%@ include view='MirrorPageUrl' %>",
                "other than a <%= … %>",
            ),
            ("https://x.example/<% if (a) { %>b", "other than a <%= … %>"),
            ("https://x.example/<%>", "other than a <%= … %>"),
            ("javascript:alert(<%= a %>)", "scheme"),
            ("/relative", "absolute"),
            ("", "absolute"),
        ] {
            let told = from_adobe(source, &[]).unwrap_err().to_string();
            assert!(told.contains(why), "{source}: {told}");
        }
        let many: String = (0..60).map(|n| format!("<%= v{n} %>")).collect();
        assert_eq!(
            from_adobe(&format!("https://x.example/{many}"), &[]),
            Err(TemplateError::Parts)
        );
    }

    proptest! {
        #[test]
        fn no_source_gives_a_destination_whose_host_a_reader_chooses(
            source in prop_oneof![
                "\\PC{0,80}",
                "(https?:)?[/\\\\]{0,3}([a-z.@:/?#\\\\{}<%= ]|<%= [a-c] %>|\\{p1\\}){0,20}",
                "https://x\\.example([a-z.@:/?#\\\\{}<%= \t]|<%= [a-c] %>|\\{p1\\}){0,20}",
            ],
            value in "[a-z0-9.%@:-]{0,12}",
        ) {
            if let Ok(template) = from_adobe(&source, &[]) {
                prop_assert!(template.is_ascii());
                let filled = |value: &str| {
                    let mut url = template.clone();
                    for part in (1..=MOST_PARTS).rev() {
                        url = url.replace(&format!("{{p{part}}}"), value);
                    }
                    Url::parse(&url).unwrap()
                };
                let (plain, bent) = (filled("x"), filled(&value));
                prop_assert_eq!(plain.scheme(), bent.scheme());
                prop_assert_eq!(plain.host_str(), bent.host_str());
                prop_assert_eq!(plain.port(), bent.port());
                prop_assert!(bent.username().is_empty() && bent.password().is_none());
            }
        }
    }
}
