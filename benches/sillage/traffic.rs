//! What readers of a mailing and visitors of its site do, as requests: 30 % open it, 22 % click,
//! 17 % look at a page after a click, 3 % buy, and 28 % look at a page and are nobody yet.
//!
//! Messages are drawn evenly. Mail programs open without cookies; half of the clicks come from
//! browsers that were here before, and one in ten from one of those that were nobody: from then on
//! its earlier pages have a person. Page views and purchases are what `mtc.js` sends, after a click:
//! with its session cookies, its idempotency key and its parameters about the browser. Agents are
//! of some thousand versions. The draw is the same in every run.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sillage::door::{
    BROADLOG_COOKIE, Clock, DELIVERY_COOKIE, Hit, HitId, Inbound, Kind, LinkToken, Purpose, Rules,
    Site, VISITOR_COOKIE, VisitorId, native,
};
use uuid::Uuid;

use super::mailing::Mailing;

/// Site whose pages carry the script.
pub const ORIGIN: &str = "https://shop.example";
/// A usual browser.
pub const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, \
    like Gecko) Chrome/141.0.0.0 Safari/537.36";

const BROWSERS: [&str; 4] = [
    BROWSER,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
    Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
    Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
];
const MAILERS: [&str; 3] = [
    "Mozilla/5.0",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
];

/// One request of a reader.
pub struct Request {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: String,
    client: IpAddr,
    token: Option<LinkToken>,
}

/// An endless stream of requests.
pub struct Traffic<'m> {
    mailing: &'m Mailing,
    random: u64,
    count: u64,
    server: u64,
}

impl<'m> Traffic<'m> {
    /// The readers of a mailing.
    pub fn of(mailing: &'m Mailing) -> Self {
        Self {
            mailing,
            random: 0x51_11a9e,
            count: 0,
            server: 0,
        }
    }

    /// The same as another server sees them: other requests of the same readers. A browser that is
    /// nobody's keeps to its server, or it would click mails of two people in the same second.
    pub fn of_server(mailing: &'m Mailing, server: u64) -> Self {
        let usual = Self::of(mailing);
        Self {
            random: usual.random + server,
            count: server << 32,
            server,
            ..usual
        }
    }

    /// The mailing.
    pub fn mailing(&self) -> &'m Mailing {
        self.mailing
    }

    /// The next request.
    pub fn next(&mut self) -> Request {
        self.count += 1;
        let message = 1 + self.draw(self.mailing.messages);
        let client = IpAddr::V4(Ipv4Addr::from(0xc612_0000 | (message as u32 & 0x1_ffff)));
        match self.draw(100) {
            0..30 => self.open(message, client),
            30..52 => self.click(message, client),
            52..69 => self.page(message, client, Kind::Pageview),
            69..72 => self.page(message, client, Kind::Transaction),
            _ => self.page_of_nobody(client),
        }
    }

    fn open(&mut self, message: u64, client: IpAddr) -> Request {
        let token = self.mailing.token(message, None);
        Request {
            method: Method::GET,
            target: format!("/o/{}.gif", token.encode(&self.mailing.keys)),
            headers: vec![
                ("user-agent", self.pick(&MAILERS)),
                ("accept", "image/*,*/*;q=0.8".to_owned()),
                ("accept-encoding", "gzip, deflate".to_owned()),
            ],
            body: String::new(),
            client,
            token: Some(token),
        }
    }

    fn click(&mut self, message: u64, client: IpAddr) -> Request {
        let nth = self.draw(5);
        let token = self.mailing.token(message, Some(nth));
        let mut headers = vec![
            ("user-agent", self.pick(&BROWSERS)),
            (
                "accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".to_owned(),
            ),
            ("accept-language", "en-GB,en;q=0.9,de;q=0.7".to_owned()),
            ("accept-encoding", "gzip, deflate, br".to_owned()),
            ("upgrade-insecure-requests", "1".to_owned()),
        ];
        let visitor = match self.draw(10) {
            0 => Some(self.nobody()),
            1..6 => Some(self.visitor(message)),
            _ => None,
        };
        if let Some(visitor) = visitor {
            headers.push(("cookie", format!("{VISITOR_COOKIE}={visitor}")));
        }
        Request {
            method: Method::GET,
            target: format!("/r/{}", token.encode(&self.mailing.keys)),
            headers,
            body: String::new(),
            client,
            token: Some(token),
        }
    }

    fn page_of_nobody(&mut self, client: IpAddr) -> Request {
        let visitor = self.nobody();
        let cookies = format!("{VISITOR_COOKIE}={visitor}");
        self.page_with(cookies, &visitor, client, Kind::Pageview)
    }

    fn page(&mut self, message: u64, client: IpAddr, kind: Kind) -> Request {
        let keys = &self.mailing.keys;
        let visitor = self.visitor(message);
        let cookies = format!(
            "{BROADLOG_COOKIE}={}; {DELIVERY_COOKIE}={}; {VISITOR_COOKIE}={visitor}",
            keys.seal(Purpose::BroadlogCookie, &message.to_string()),
            keys.seal(
                Purpose::DeliveryCookie,
                &self.mailing.delivery(message).to_string()
            ),
        );
        self.page_with(cookies, &visitor, client, kind)
    }

    fn page_with(&mut self, cookies: String, visitor: &str, client: IpAddr, kind: Kind) -> Request {
        let (page, key) = (self.draw(500), self.draw(u64::MAX));
        let mut body = format!(
            "page_title=Article+{page}+-+Shop&page_language=en-GB&preferred_locale=en_GB&page_referrer=https%3A%2F%2Fshop.example%2F\
             &page_url=https%3A%2F%2Fshop.example%2Farticle%2F{page}%3Futm_source%3Dnewsletter%26utm_medium%3Demail&counter=1\
             &timezone_offset=-60&timezone=Europe%2FBerlin&resolution=1920x1080&platform=Win32&do_not_track=false&adblock=false\
             &idempotency_key=mi8x{:x}k{key:x}&mautic_device_id={visitor}",
            self.count,
        );
        if kind == Kind::Transaction {
            let _ = write!(
                body,
                "&revenue={}.{:02}&currency=EUR&order_id=B-{}&quantity={}",
                5 + self.draw(200),
                self.draw(100),
                1_000_000 + self.count,
                1 + self.draw(4),
            );
        }
        Request {
            method: Method::POST,
            target: "/mtc/event".to_owned(),
            headers: vec![
                ("user-agent", self.pick(&BROWSERS)),
                ("accept", "*/*".to_owned()),
                ("accept-language", "en-GB,en;q=0.9,de;q=0.7".to_owned()),
                ("accept-encoding", "gzip, deflate, br".to_owned()),
                (
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                ),
                ("origin", ORIGIN.to_owned()),
                ("referer", format!("{ORIGIN}/")),
                ("cookie", cookies),
            ],
            body,
            client,
            token: None,
        }
    }

    /// The browser of a message's reader, as its cookie says it.
    fn visitor(&self, message: u64) -> String {
        self.sealed(0x0193_5000_0000_7000_9000 << 48 | u128::from(message))
    }

    /// One of as many browsers as there are messages, of which nothing is known.
    fn nobody(&mut self) -> String {
        let number = self.draw(self.mailing.messages) | self.server << 40;
        self.sealed(0x0193_5000_0000_7000_a000 << 48 | u128::from(number))
    }

    fn sealed(&self, id: u128) -> String {
        let id = Uuid::from_u128(id);
        let mut buffer = Uuid::encode_buffer();
        self.mailing
            .keys
            .seal(Purpose::Visitor, id.simple().encode_lower(&mut buffer))
    }

    fn pick(&mut self, from: &[&str]) -> String {
        let agent = from[self.draw(from.len() as u64) as usize];
        let version = self.draw(1_000);
        // The last number of its version, as browsers count it up.
        match agent.rsplit_once(['.', '/']) {
            Some((start, _)) => format!("{start}.{version}"),
            None => agent.to_owned(),
        }
    }

    /// SplitMix64: evenly spread and the same in every run.
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

impl Request {
    /// The bytes on the wire, as a reverse proxy passes them on.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: t.shop.example\r\nx-forwarded-for: {}\r\n",
            self.method, self.target, self.client
        );
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.method == Method::POST {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(self.body.as_bytes());
    }

    /// The hit that the server makes of it, through the same dialect.
    pub fn hit(&self, mailing: &Mailing, rules: &Rules, clock: &Clock) -> Hit {
        let headers = self.header_map();
        let (_, query) = self.target.split_once('?').unwrap_or_default();
        let received_at = clock.now();
        let inbound = Inbound {
            site: Site::usual(),
            method: &self.method,
            target: &self.target,
            rest: "",
            query,
            is_repaired: false,
            headers: &headers,
            body: self.body.as_bytes(),
            client: self.client,
            is_forwarded: false,
            is_trusted_sender: false,
            received_at,
            new_visitor: VisitorId(clock.new_id(received_at)),
        };
        let mut hit = match self.token {
            Some(token) => match token.link_id {
                Some(id) => {
                    let link = &mailing.links[id.0 as usize - 1];
                    native::click(&inbound, rules, link, Some(&token))
                }
                None => native::open(&inbound, rules, &token),
            },
            None => native::collect(&inbound, rules),
        };
        hit.id = HitId(clock.new_id(hit.received_at));
        if hit.visitor_id.is_none() && hit.kind != Kind::Open {
            hit.visitor_id = Some(inbound.new_visitor);
            hit.visitor_is_new = true;
        }
        hit
    }

    fn header_map(&self) -> HeaderMap {
        self.headers
            .iter()
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::from_static(name),
                    HeaderValue::try_from(value).ok()?,
                ))
            })
            .collect()
    }
}
