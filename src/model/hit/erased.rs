//! A hit whose person is erased: it is still counted where it was, and says nothing of anybody.

use percent_encoding::percent_decode_str;

use super::Hit;

/// Stands in the `reason` of a hit whose person is erased.
pub const ERASED: &str = "person erased";

/// Shorter values stand in texts by chance.
const LEAST_SEARCHED: usize = 6;

/// Whether a text contains one of these values, which are in lower case.
pub fn contains_any(text: &str, values: &[String]) -> bool {
    if values.is_empty() {
        return false;
    }
    let plain = text.to_lowercase();
    let decoded = percent_decode_str(&plain).decode_utf8_lossy();
    let decoded = decoded.to_lowercase();
    let mut searched = values.iter().filter(|value| is_searched(value));
    searched.any(|value| plain.contains(value.as_str()) || decoded.contains(value.as_str()))
}

/// Whether a value is long enough to be searched for in texts.
pub fn is_searched(value: &str) -> bool {
    value.len() >= LEAST_SEARCHED
}

impl Hit {
    /// Takes away all that says whose it is: ids, address, agent, the query of addresses, `extra`,
    /// and texts that contain one of `values` (in lower case). What is counted stays: time, kind,
    /// site, page, delivery, link, campaign, amount, verdict.
    pub fn erase_person(&mut self, values: &[String]) {
        self.broadlog_id = None;
        self.visitor_id = None;
        self.visitor_is_new = false;
        self.contact_id = None;
        self.fields = Vec::new();
        self.idempotency_key = None;
        self.foreign = None;
        self.erase_texts(values);
    }

    /// The same, but for its ids.
    pub fn erase_texts(&mut self, values: &[String]) {
        let plain = |address: &str| plain_address(address, values);
        self.page_url = self.page_url.as_deref().and_then(plain);
        self.referrer = self.referrer.as_deref().and_then(plain);
        self.page_title = None;
        self.order_id = None;
        self.ip = None;
        self.user_agent = None;
        self.extra = None;
        self.tags = Vec::new();
        self.utm.term = None;
        self.utm.content = None;
        let utm = &mut self.utm;
        for text in [
            &mut utm.source,
            &mut utm.medium,
            &mut utm.campaign,
            &mut self.event,
            &mut self.page_tag,
        ] {
            text.take_if(|text| contains_any(text, values));
        }
        self.note(ERASED);
    }

    /// Whether its person is erased.
    pub fn is_erased(&self) -> bool {
        let notes = self.reason.as_deref().unwrap_or_default();
        notes.split("; ").any(|note| note == ERASED)
    }
}

/// An address without user, query and fragment; without its path too where that contains a value.
fn plain_address(address: &str, values: &[String]) -> Option<String> {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = address.split_once("://") else {
        let is_kept = !address.is_empty() && !contains_any(address, values);
        return is_kept.then(|| address.to_owned());
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = match contains_any(path, values) {
        true => "/",
        false => path,
    };
    Some(format!("{scheme}://{host}{path}"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{BroadlogId, DeliveryId, Dialect, HitId, Kind, VisitorId};

    #[test]
    fn an_erased_hit_counts_where_it_did_and_names_nobody() {
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, Micros(1), Kind::Click, Dialect::Native);
        hit.delivery_id = Some(DeliveryId(7));
        hit.broadlog_id = Some(BroadlogId(8));
        hit.visitor_id = Some(VisitorId(Uuid::from_u128(9)));
        hit.page_url = Some("https://ada:x@shop.example/Off/Ada%40Example.com?mail=a".to_owned());
        hit.referrer = Some("https://mail.example/inbox?user=ada@example.com#top".to_owned());
        hit.utm.campaign = Some("spring".to_owned());
        hit.utm.content = Some("to ada".to_owned());
        hit.user_agent = Some("Ada's".to_owned());
        hit.ip = Some("192.0.2.7".parse().unwrap());
        hit.fields = vec![("email".to_owned(), "ada@example.com".to_owned())];
        hit.keep("email", "ada@example.com");
        hit.erase_person(&["ada@example.com".to_owned()]);
        let mut left = Hit::new(id, Micros(1), Kind::Click, Dialect::Native);
        left.delivery_id = Some(DeliveryId(7));
        left.page_url = Some("https://shop.example/".to_owned());
        left.referrer = Some("https://mail.example/inbox".to_owned());
        left.utm.campaign = Some("spring".to_owned());
        left.note(ERASED);
        assert_eq!(hit, left);
        assert!(hit.is_erased());
    }

    #[test]
    fn short_values_are_not_searched_for() {
        assert!(!contains_any("/order/12", &["12".to_owned()]));
        assert!(contains_any("/u/ADA-1815", &["ada-1815".to_owned()]));
    }
}
