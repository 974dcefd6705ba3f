//! Webhooks by Standard Webhooks 1.0: what a message is called, how it is signed, when it is tried
//! again, and which addresses a receiver may have.
//!
//! Source: the specification, <https://www.standardwebhooks.com>, sections "Signature scheme",
//! "Webhook headers" and "Deliverability and reliability".

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ipnet::IpNet;
use sha2::Sha256;
use url::{Host, Url};
use uuid::Uuid;

use crate::model::clock::Micros;
use crate::model::draft::DraftError;
use crate::model::hint::quote;
use crate::model::public_address::{canonical, is_public};
use crate::model::text::Limit;

/// A receiver's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(pub Uuid);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl WebhookId {
    /// `webhook-id` of a hit: the same for every attempt, and without a full stop, which separates
    /// it from the rest of what is signed.
    pub fn message(self, seq: i64) -> String {
        format!("{}_{seq}", self.0.simple())
    }
}

/// What requests to a receiver are signed with. Never shown after it was made.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl WebhookSecret {
    /// The secret of these bytes; the specification asks for 24 to 64.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// As it is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it is told, once.
    pub fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    /// A signature as it stands in `webhook-signature`, among others.
    pub fn sign(&self, message: &str, seconds: i64, body: &[u8]) -> String {
        let mut mac = keyed(&self.0);
        mac.update(format!("{message}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("any length")
}

/// Pauses before the second attempt, the third, and so on: the specification's, over three days.
const PAUSES: [i64; 9] = [
    5,
    5 * 60,
    30 * 60,
    2 * 3_600,
    5 * 3_600,
    10 * 3_600,
    14 * 3_600,
    20 * 3_600,
    24 * 3_600,
];

/// Longest pause that a receiver's `Retry-After` is granted.
const MOST_ASKED: i64 = 24 * 3_600 * Micros::SECOND;

/// No pause is longer. A time that lies further ahead was computed under a wrong clock.
pub const MOST_PAUSE: i64 = 27 * Micros::HOUR;

/// When the next attempt is due after so many that failed; `None` after the last one. Up to a tenth
/// is added by chance, so that receivers which failed together are not called together; `chance` is
/// any number. A receiver may ask for more time, not for less.
pub fn next_attempt(now: Micros, failed: i64, asked: Option<i64>, chance: u64) -> Option<Micros> {
    let place = usize::try_from(failed.max(1) - 1).unwrap_or(usize::MAX);
    let pause = PAUSES.get(place)? * Micros::SECOND;
    let extra = (chance % 1_000) as i64 * (pause / 10_000);
    let asked = asked.map_or(0, |asked| asked.clamp(0, MOST_ASKED));
    Some(Micros(now.0 + (pause + extra).max(asked)))
}

/// Whether something is due that waits until `at`.
pub fn is_due(at: Option<Micros>, now: Micros) -> bool {
    at.is_none_or(|at| at <= now || at.0 - now.0 > MOST_PAUSE)
}

/// What a receiver asks for in `Retry-After`, in microseconds: seconds, or a date in one of HTTP's
/// forms, of which senders of dates use the first.
pub fn retry_after(text: &str, now: Micros) -> Option<i64> {
    const IMF: &[time::format_description::BorrowedFormatItem<'_>] = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * Micros::SECOND);
    }
    let date = time::PrimitiveDateTime::parse(text, IMF).ok()?;
    Some((Micros::from_date_time(date.assume_utc()).0 - now.0).max(0))
}

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is not the public internet's.
    #[error("{0} is not a public address; webhooks.allow_networks can allow it")]
    Private(IpAddr),
    /// What is sent would be readable on the way.
    #[error(
        "{0} is called in plain HTTP; use https, or allow its network with \
        webhooks.allow_networks"
    )]
    Plain(IpAddr),
}

/// Whether an address may be connected to, over TLS or not.
///
/// # Errors
/// The address is private and not among those that are allowed.
pub fn check_address(address: IpAddr, is_secure: bool, allowed: &[IpNet]) -> Result<(), Forbidden> {
    let address = canonical(address);
    if allowed.iter().any(|network| network.contains(&address)) {
        return Ok(());
    }
    if !is_public(address) {
        return Err(Forbidden::Private(address));
    }
    if !is_secure {
        return Err(Forbidden::Plain(address));
    }
    Ok(())
}

/// Checks a receiver's URL and brings it into its usual form. What its name resolves to is checked
/// at each connection.
///
/// # Errors
/// The URL may not be called.
pub fn check_url(url: &str, allowed: &[IpNet]) -> Result<String, DraftError> {
    let wrong = |why: &str| DraftError {
        field: "url",
        why: format!("is {} {why}", quote(url)),
    };
    let parsed = Url::parse(url.trim())
        .map_err(|_| wrong("but must be a URL such as https://crm.example.com/hits"))?;
    let is_secure = match parsed.scheme() {
        "https" => true,
        "http" if !allowed.is_empty() => false,
        _ => {
            return Err(wrong(
                "but must begin with https://; plain http is for networks that \
                webhooks.allow_networks lists",
            ));
        }
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong(
            "but must not contain a user name or a password: requests are signed instead",
        ));
    }
    if parsed.as_str().len() > Limit::URL.0 {
        return Err(wrong("but must be at most 8000 characters long"));
    }
    let literal = match parsed.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        _ => None,
    };
    if let Some(address) = literal {
        check_address(address, is_secure, allowed)
            .map_err(|error| wrong(&format!("but {error}")))?;
    }
    let mut parsed = parsed;
    parsed.set_fragment(None);
    Ok(parsed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own libraries test with this one.
    #[test]
    fn a_signature_is_the_specifications() {
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = WebhookSecret::of(bytes);
        assert_eq!(secret.text(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(format!("{secret:?}"), "(secret)");
    }

    #[test]
    fn a_message_is_called_the_same_each_time_and_without_a_full_stop() {
        let id = WebhookId(Uuid::from_u128(7));
        assert_eq!(id.message(12), "00000000000000000000000000000007_12");
    }

    #[test]
    fn attempts_span_three_days_and_end() {
        let now = Micros(1_700_000_000_000_000);
        let mut at = now;
        for failed in 1..=9 {
            at = next_attempt(at, failed, None, 0).unwrap();
        }
        // 75:35:05, as in the specification's table.
        assert_eq!(at.0 - now.0, (75 * 3_600 + 35 * 60 + 5) * Micros::SECOND);
        assert_eq!(next_attempt(now, 10, None, 0), None);
        let late = next_attempt(now, 9, Some(i64::MAX), u64::MAX).unwrap();
        assert!(late.0 - now.0 < MOST_PAUSE);
        let jittered = next_attempt(now, 2, None, 999).unwrap().0 - now.0;
        assert!(
            (300..330).contains(&(jittered / Micros::SECOND)),
            "{jittered}"
        );
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_and_not_for_less() {
        let now = Micros(784_111_777_000_000);
        assert_eq!(retry_after(" 120", now), Some(120 * Micros::SECOND));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now),
            Some(10 * Micros::SECOND)
        );
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(0));
        for wrong in ["", "soon", "-1", "1.5", "99999999999"] {
            assert_eq!(retry_after(wrong, now), None, "{wrong}");
        }
        let pause = |asked| next_attempt(now, 1, Some(asked), 0).unwrap().0 - now.0;
        assert_eq!(pause(120 * Micros::SECOND), 120 * Micros::SECOND);
        assert_eq!(pause(0), 5 * Micros::SECOND);
    }

    #[test]
    fn a_time_of_a_wrong_clock_holds_nothing_up() {
        let now = Micros(1_700_000_000_000_000);
        let later = |micros| Some(Micros(now.0 + micros));
        assert!(is_due(None, now) && is_due(later(0), now));
        assert!(!is_due(later(1), now) && !is_due(later(MOST_PAUSE), now));
        assert!(is_due(later(30 * Micros::DAY), now));
    }

    #[test]
    fn a_receiver_is_public_and_reached_by_https() {
        let url = |url| check_url(url, &[]).map_err(|error| error.to_string());
        assert_eq!(
            url(" HTTPS://Crm.Example.com:443/a?b=c#d").unwrap(),
            "https://crm.example.com/a?b=c"
        );
        for (wrong, why) in [
            ("crm.example.com", "must be a URL"),
            ("http://crm.example.com/", "must begin with https://"),
            ("ftp://crm.example.com/", "must begin with https://"),
            ("https://a:b@crm.example.com/", "user name"),
            ("https://169.254.169.254/latest", "not a public address"),
            ("https://127.1/", "127.0.0.1 is not a public address"),
            ("https://0x7f000001/", "127.0.0.1 is not a public address"),
            ("https://[::1]/", "not a public address"),
            (
                "https://[::ffff:10.0.0.1]/",
                "10.0.0.1 is not a public address",
            ),
        ] {
            let told = url(wrong).unwrap_err();
            assert!(told.contains(why), "{wrong}: {told}");
        }
    }

    #[test]
    fn allowed_networks_may_be_private_and_plain() {
        let allowed = ["10.0.0.0/8".parse().unwrap()];
        assert!(check_url("http://10.0.0.1/hook", &allowed).is_ok());
        // What it resolves to decides.
        assert!(check_url("http://crm.intranet/hook", &allowed).is_ok());
        assert!(check_url("https://192.168.0.1/hook", &allowed).is_err());
        let public = "1.1.1.1".parse().unwrap();
        assert_eq!(
            check_address(public, false, &allowed),
            Err(Forbidden::Plain(public))
        );
        assert_eq!(check_address(public, true, &allowed), Ok(()));
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(check_address(mapped, false, &allowed), Ok(()));
    }
}
