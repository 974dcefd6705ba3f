//! What may be a link's destination, decided when the link is made: a web page, with personal
//! parts behind its host, or in it where the operator lists the hosts.

use url::Url;

use super::personal::{Part, is_personal, origin_end, parts};
use crate::model::hit::{Limit, plain_ampersands};
use crate::model::host_pattern::HostPattern;

/// Why a URL cannot be a link's destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Not an absolute URL.
    #[error("is not an absolute URL, such as https://www.example.com/: {0}")]
    NotAUrl(url::ParseError),
    /// A scheme other than `http` and `https`: `javascript:` and `data:` would run in our name.
    #[error("has the scheme {0:?}; use http or https")]
    Scheme(String),
    /// A user name or password, which a redirect would show to everyone.
    #[error("contains a user name or a password")]
    Credentials,
    /// Longer than browsers take.
    #[error("is longer than 8,000 characters")]
    TooLong,
    /// A reader's parameter would choose the host.
    #[error(
        "has a host that depends on its parameters; list the possible hosts in links.personal_hosts"
    )]
    PersonalHost,
    /// A host that a reader's parameter chooses, with a port.
    #[error("has a host that depends on its parameters, and a port; leave the port out")]
    PersonalPort,
}

/// Checks a destination and brings it into the form that can stand in a header: ASCII, host in
/// Punycode. It may have personal parts (`{p1}`, …) behind the host.
///
/// # Errors
/// The URL is not absolute, not `http(s)`, holds credentials, has a personal host or is too long.
pub fn check_template(url: &str) -> Result<String, DestinationError> {
    check_personal_template(url, &[])
}

/// Checks a URL without personal parts.
fn check_fixed(url: &str) -> Result<String, DestinationError> {
    let parsed = Url::parse(url.trim()).map_err(DestinationError::NotAUrl)?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(DestinationError::Scheme(parsed.scheme().to_owned()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(DestinationError::Credentials);
    }
    let text = String::from(parsed);
    if text.len() > Limit::URL.0 {
        Err(DestinationError::TooLong)
    } else {
        Ok(text)
    }
}

/// Checks a template and brings it into the form that can go into a header, as [`check_template`]
/// does. `hosts` are those that a personal host may turn out to be.
///
/// # Errors
/// What is fixed of the URL cannot be a destination, or a value of a reader would choose more than
/// path, query and fragment.
pub fn check_personal_template(
    url: &str,
    hosts: &[HostPattern],
) -> Result<String, DestinationError> {
    let url = &*plain_ampersands(url.trim());
    let parts: Vec<Part> = parts(url).collect();
    let Some(first) = parts.first() else {
        return check_host(check_fixed(url)?, hosts);
    };
    // Words that stand for the parts while the URL is parsed; none of them is in it.
    let word = (0_u32..)
        .map(|salt| format!("zq{salt}x"))
        .find(|word| !url.to_ascii_lowercase().contains(word))
        .unwrap_or_default();
    let (mut probe, mut at) = (String::with_capacity(url.len() + 32), 0);
    for part in &parts {
        probe.push_str(&url[at..part.start]);
        probe.push_str(&format!("{word}{}z", part.number));
        at = part.end;
    }
    probe.push_str(&url[at..]);
    if first.start == 0 {
        // The whole URL comes from the reader, or its scheme: what it is shows at the click.
        return match check_fixed(&format!("https://{probe}")) {
            _ if hosts.is_empty() => Err(DestinationError::PersonalHost),
            Ok(_) if !url.chars().any(char::is_control) && !url[first.end..].starts_with(':') => {
                Ok(url.to_owned())
            }
            Ok(_) => Err(DestinationError::NotAUrl(
                url::ParseError::RelativeUrlWithoutBase,
            )),
            Err(error) => Err(error),
        };
    }
    let mut text = check_fixed(&probe)?;
    for part in &parts {
        text = text.replace(
            &format!("{word}{}z", part.number),
            &format!("{{p{}}}", part.number),
        );
    }
    let text = check_host(text, hosts)?;
    let origin = origin_end(&text);
    // The slash that a URL without a path gets: a value may bring the path, or begin the query.
    let is_as_given = url.len() + 1 == text.len()
        && url.is_char_boundary(origin)
        && text[..origin].eq_ignore_ascii_case(&url[..origin])
        && text[origin..].strip_prefix('/') == Some(&url[origin..]);
    Ok(if is_as_given { url.to_owned() } else { text })
}

/// Checks the host of a checked URL. Here and not before the URL is parsed: escapes in a host are
/// decoded, so `%7Bp1%7D` is a personal part there.
fn check_host(text: String, hosts: &[HostPattern]) -> Result<String, DestinationError> {
    let host = &text[..origin_end(&text)];
    if !is_personal(host) {
        return Ok(text);
    }
    if hosts.is_empty() {
        return Err(DestinationError::PersonalHost);
    }
    // The colon of the scheme, and no other: a port would never pass the check at the click.
    if host.matches(':').count() > 1 {
        return Err(DestinationError::PersonalPort);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> [HostPattern; 1] {
        [HostPattern::parse("*.shop.example").unwrap()]
    }

    #[test]
    fn only_web_pages_are_destinations() {
        assert_eq!(
            check_template("https://bücher.example/ä").unwrap(),
            "https://xn--bcher-kva.example/%C3%A4"
        );
        assert_eq!(
            check_template("javascript:alert(1)"),
            Err(DestinationError::Scheme("javascript".into()))
        );
        assert_eq!(
            check_template("https://a:b@x.example/"),
            Err(DestinationError::Credentials)
        );
        assert!(matches!(
            check_template("/relative"),
            Err(DestinationError::NotAUrl(_))
        ));
        assert_eq!(
            check_template(&format!("https://x.example/{}", "a".repeat(9_000))),
            Err(DestinationError::TooLong)
        );
    }

    #[test]
    fn a_personal_host_is_refused_where_no_hosts_are_listed() {
        for url in [
            "https://{p1}/",
            "https://{p1}.shop.example/",
            "https://shop.example{p1}",
            "https://shop.example{p1}/x",
            "https://{p1}",
            "{p1}",
            "{p1}/path",
            "http://a.{p2}.example?x",
            "https://x.example%7Bp1%7D/",
            "https://x.example%7bp1}/{p2}",
            "https://x.example\u{ff5b}p1\u{ff5d}/",
        ] {
            assert_eq!(
                check_personal_template(url, &[]),
                Err(DestinationError::PersonalHost),
                "{url}"
            );
            assert!(check_personal_template(url, &listed()).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_template_without_a_path_stays_byte_for_byte() {
        for url in [
            "https://{p1}",
            "https://{p1}&a={p2}",
            "https://de.{p1}?a={p2}",
            "https://Shop.example?{p1}",
            "https://shop.example#{p1}",
        ] {
            assert_eq!(check_personal_template(url, &listed()).as_deref(), Ok(url));
        }
        let leads = check_personal_template("https://{p1}&a={p2}", &listed()).unwrap();
        let mut values = super::super::PersonalValues::default();
        values.take_from("p1=de.shop.example/x%3Fb=1&p2=2");
        assert_eq!(
            super::super::fill(&leads, &values, &listed()).unwrap(),
            "https://de.shop.example/x?b=1&a=2"
        );
    }

    #[test]
    fn scheme_port_and_user_are_never_personal() {
        for url in [
            "{p1}://shop.example/",
            "h{p1}://shop.example/",
            "https://shop.example:{p1}/",
            "https://shop.example:8{p1}/",
            "https://{p1}@shop.example/",
            "https://a:{p1}@shop.example/",
            "https://{p1}:8443/",
            "javascript:{p1}",
        ] {
            for hosts in [&[][..], &listed()] {
                assert!(check_personal_template(url, hosts).is_err(), "{url}");
            }
        }
    }
}
