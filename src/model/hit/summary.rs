//! What figures say of a page, of where somebody came from, and of a campaign: short texts of which
//! a site has not too many.

use super::{Hit, Utm};

/// Longest text, in bytes: Postgres indexes at most 2,700.
const LONGEST: usize = 500;

impl Hit {
    /// Its page without query and fragment, the host in lower case; an app's screen name as it is.
    pub fn page(&self) -> Option<String> {
        let page = self.page_url.as_deref()?;
        let page = page.split(['?', '#']).next().unwrap_or_default();
        let page = match page.split_once("://") {
            None => page.to_owned(),
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let (scheme, host) = (scheme.to_ascii_lowercase(), host(authority));
                let path = if path.is_empty() { "/" } else { path };
                format!("{scheme}://{host}{path}")
            }
        };
        short(page)
    }

    /// The host that its visitor came from; `None` if that is the page's own.
    pub fn referring_host(&self) -> Option<String> {
        let referrer = host_of(self.referrer.as_deref()?)?;
        let own = self.page_url.as_deref().and_then(host_of);
        (own.as_ref() != Some(&referrer)).then_some(referrer)
    }

    /// See [`Utm::campaign`].
    pub fn campaign(&self) -> Option<String> {
        self.utm.campaign()
    }
}

impl Utm {
    /// Source, medium and campaign, joined by tabs, which no hit's texts contain; `None` if all
    /// three are empty.
    pub fn campaign(&self) -> Option<String> {
        let parts = [&self.source, &self.medium, &self.campaign].map(|part| part.as_deref());
        if parts.iter().all(Option::is_none) {
            return None;
        }
        short(parts.map(Option::unwrap_or_default).join("\t"))
    }
}

/// The host of a URL, in lower case, without user and port.
pub(crate) fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    short(host(authority))
}

/// Without user and port.
fn host(authority: &str) -> String {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    host.to_ascii_lowercase()
}

/// Cut at [`LONGEST`]; `None` if nothing is left.
fn short(mut text: String) -> Option<String> {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Dialect, HitId, Kind};

    fn hit(page: &str, referrer: &str) -> Hit {
        let mut hit = Hit::new(
            HitId(Uuid::nil()),
            Micros(0),
            Kind::Pageview,
            Dialect::Native,
        );
        hit.page_url = Some(page.to_owned());
        hit.referrer = Some(referrer.to_owned());
        hit
    }

    #[test]
    fn a_page_stands_without_what_differs_at_each_visit() {
        for (page, expected) in [
            (
                "https://Shop.Example/a/B?x=1#top",
                "https://shop.example/a/B",
            ),
            ("https://shop.example", "https://shop.example/"),
            ("https://shop.example?x=1", "https://shop.example/"),
            (
                "HTTPS://ada:secret@shop.example:443/a",
                "https://shop.example/a",
            ),
            ("cart_screen", "cart_screen"),
            ("app://cart/1", "app://cart/1"),
        ] {
            assert_eq!(hit(page, "").page().as_deref(), Some(expected), "{page}");
        }
        assert_eq!(hit("?x=1", "").page(), None);
    }

    #[test]
    fn a_site_does_not_refer_to_itself() {
        let of = |page, referrer| hit(page, referrer).referring_host();
        let page = "https://shop.example/a";
        assert_eq!(of(page, "https://Shop.example:8443/b"), None);
        assert_eq!(
            of(page, "https://www.Search.example/?q=1").as_deref(),
            Some("www.search.example")
        );
        assert_eq!(
            of(page, "android-app://com.mail/").as_deref(),
            Some("com.mail")
        );
        assert_eq!(
            of("screen", "https://[2001:db8::1]:80/").as_deref(),
            Some("[2001:db8::1]")
        );
        assert_eq!(of(page, "nowhere"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_makes_short_ones(page in "\\PC{0,700}", scheme in "(https://|//|)") {
            let hit = hit(&format!("{scheme}{page}"), &format!("https://{page}"));
            for text in [hit.page(), hit.referring_host()].into_iter().flatten() {
                proptest::prop_assert!(!text.is_empty() && text.len() <= LONGEST);
                proptest::prop_assert!(!text.contains(['?', '#']));
            }
        }
    }
}
