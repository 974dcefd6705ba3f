//! What a hit is judged by: the request, the agent and the address it stands for, and the time
//! since its message was sent, as far as anybody knows it.

use std::net::IpAddr;

use http::HeaderMap;

use crate::model::clock::Micros;
use crate::model::hit::Kind;

/// Minutes that a mail is made ahead at most: a hundred days.
const MOST_AHEAD: i64 = 100 * 24 * 60;

/// Where a hit comes from; the same request means another thing on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A page, a form, an app: what the owner of a site or app put there himself.
    Page,
    /// A link of a message: readers follow it in a browser.
    Link,
    /// The open pixel of a message: mail programs and their proxies fetch it.
    Open,
}

impl Surface {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "pages",
            Self::Link => "links",
            Self::Open => "opens",
        }
    }

    /// That of a kind of hit.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Click | Kind::Optout | Kind::Mirror => Self::Link,
            Kind::Open => Self::Open,
            Kind::Pageview | Kind::Transaction | Kind::Event | Kind::Form => Self::Page,
        }
    }
}

/// Seconds since a message was sent: a link says the minute of it and no more, so the time is known
/// to lie between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// At least so many; below zero before the sending.
    pub least: i64,
    /// At most so many.
    pub most: i64,
}

impl Elapsed {
    /// Exactly so many seconds.
    pub fn seconds(seconds: i64) -> Self {
        Self {
            least: seconds,
            most: seconds,
        }
    }

    /// Since a minute, counted from the Unix epoch. A mail may be made days ahead, but not months:
    /// then one of the clocks was wrong, and a mail that was made on a machine in 2038 is read by
    /// people.
    pub fn since_minute(minute: i64, at: Micros) -> Option<Self> {
        if minute - at.minutes() >= MOST_AHEAD {
            return None;
        }
        let most = at.0.div_euclid(Micros::SECOND) - minute * 60;
        Some(Self {
            least: most - 59,
            most,
        })
    }
}

/// All that the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Where the hit comes from.
    pub surface: Surface,
    /// Whether headers say that nobody has clicked yet.
    pub is_prefetch: bool,
    /// Whether only the head of the answer was asked for.
    pub is_head: bool,
    /// Headers of the request that the client sent itself; `None` if somebody reports for it.
    pub headers: Option<&'a HeaderMap>,
    /// What the client calls itself.
    pub agent: Option<&'a str>,
    /// The client's address; `None` if it says nothing about the client.
    pub address: Option<IpAddr>,
    /// Time since the sending of the message; `None` if nobody knows.
    pub elapsed: Option<Elapsed>,
}

impl Facts<'_> {
    /// A client of whom nothing is known.
    pub fn none(surface: Surface) -> Self {
        Self {
            surface,
            is_prefetch: false,
            is_head: false,
            headers: None,
            agent: None,
            address: None,
            elapsed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minute_of_sending_leaves_a_minute_open() {
        let at = Micros(1_795_000_030 * Micros::SECOND);
        let minute = at.minutes();
        let into = 1_795_000_030 - minute * 60;
        for (ahead, most) in [
            (0, Some(into)),
            (-1, Some(into + 60)),
            (2, Some(into - 120)),
            (MOST_AHEAD - 1, Some(into - (MOST_AHEAD - 1) * 60)),
            (MOST_AHEAD, None),
            (10 * MOST_AHEAD, None),
        ] {
            let elapsed = Elapsed::since_minute(minute + ahead, at);
            assert_eq!(elapsed.map(|elapsed| elapsed.most), most, "{ahead}");
            assert!(elapsed.is_none_or(|elapsed| elapsed.most - elapsed.least == 59));
        }
    }
}
