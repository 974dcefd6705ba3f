//! A month of a small shop that sends letters, so that whoever tries the server out sees pages with
//! something on them. Nobody in it exists.
//!
//! Nothing is drawn by lot: each number comes from the place that it is at, so every demo is alike.

use std::time::Duration;

use anyhow::Context as _;

use crate::model::clock::Micros;
use crate::model::hit::{
    BroadlogId, ContactId, Currency, DeliveryId, Dialect, Hit, HitId, Kind, LinkId, Money,
    Provenance, Reason, Utm, Verdict, VisitorId,
};
use crate::operator::messages::{Mailing, Recipient, store_messages};
use crate::operator::{NewDelivery, NewLink, create_delivery, create_links};
use crate::web::AdminState;

/// How long the disk may take for some hits.
const PATIENCE: Duration = Duration::from_secs(30);
/// Hits that are kept together.
const TOGETHER: usize = 500;
const SHOP: &str = "https://quai9.example";
const MINUTE: i64 = 60 * Micros::SECOND;

/// A letter: its name, how many days ago it was sent, and how many in a hundred opened and clicked.
struct Letter {
    label: &'static str,
    days: i64,
    opened: u64,
    clicked: u64,
}

const LETTERS: [Letter; 6] = [
    Letter {
        label: "The winter timetable",
        days: 29,
        opened: 58,
        clicked: 17,
    },
    Letter {
        label: "Lamps for long evenings",
        days: 23,
        opened: 47,
        clicked: 22,
    },
    Letter {
        label: "How brass ages",
        days: 17,
        opened: 41,
        clicked: 9,
    },
    Letter {
        label: "Last copies of the harbour atlas",
        days: 11,
        opened: 52,
        clicked: 26,
    },
    Letter {
        label: "A day on the ferry",
        days: 5,
        opened: 44,
        clicked: 12,
    },
    Letter {
        label: "What the lighthouse keeper reads",
        days: 1,
        opened: 49,
        clicked: 15,
    },
];

const FIRST_NAMES: [&str; 16] = [
    "Ada", "Bruno", "Clara", "David", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira",
    "Louis", "Mina", "Noah", "Olga", "Paul",
];
const LAST_NAMES: [&str; 13] = [
    "Arnaud", "Berg", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haas", "Ito", "Jansen",
    "Keller", "Lambert", "Moreau",
];
/// Pages of the shop, and their titles.
const PAGES: [(&str, &str); 6] = [
    ("/lamps/harbour", "Harbour lamp"),
    ("/lamps", "Lamps"),
    ("/atlas", "The harbour atlas"),
    ("/journal/brass", "How to care for brass"),
    ("/journal/ferry", "A day on the ferry"),
    ("/", "Quai 9"),
];
/// Where people come from who had no letter.
const REFERRERS: [&str; 4] = [
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://harbour-blog.example/lamps",
    "https://social.example/@quai9",
];
const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 \
    Firefox/140.0";

/// A number that looks like chance, always the same for the same place.
fn chance(letter: usize, reader: usize, of: u64) -> u64 {
    let mut x = (letter as u64) << 40 ^ (reader as u64) << 16 ^ of;
    for _ in 0..2 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    x
}

/// Whether it happens, so many times in a hundred.
fn happens(letter: usize, reader: usize, of: u64, percent: u64) -> bool {
    chance(letter, reader, of) % 100 < percent
}

/// How long after a letter somebody reacts: most within hours, some after days.
fn delay(letter: usize, reader: usize, of: u64) -> i64 {
    let part = (chance(letter, reader, of) % 1_000 + 1) as f64 / 1_001.0;
    let minutes = 4.0 - part.ln() * 150.0 + part.powi(12) * 2_500.0;
    minutes as i64 * MINUTE
}

/// Somebody who gets letters.
struct Reader {
    fields: Vec<(String, String)>,
    visitor: VisitorId,
}

/// A letter that was sent.
struct Mailed {
    number: usize,
    id: DeliveryId,
    sent_at: Micros,
    links: Vec<(LinkId, String)>,
    messages: Vec<(BroadlogId, ContactId)>,
}

/// Makes the letters, and what came of them.
///
/// # Errors
/// The database or the spool fails.
pub(super) async fn make(app: &AdminState, unique: &str) -> anyhow::Result<()> {
    let now = app.clock.now();
    let readers = readers(app, unique, now);
    let mut hits = Vec::new();
    for (number, letter) in LETTERS.iter().enumerate() {
        let mailed = mail(app, number, letter, &readers, now).await?;
        for (index, reader) in readers.iter().enumerate() {
            react(app, &mailed, letter, index, reader, &mut hits);
        }
    }
    visits(app, now, &mut hits);
    // What has not happened yet will not.
    hits.retain(|hit| hit.received_at < now);
    hits.sort_by_key(|hit| hit.received_at);
    for some in hits.chunks(TOGETHER) {
        let kept = app.sink.offer(some).durable(PATIENCE).await;
        kept.map_err(|why| anyhow::anyhow!("the demo's hits are not kept: {why}"))?;
    }
    Ok(())
}

fn readers(app: &AdminState, unique: &str, now: Micros) -> Vec<Reader> {
    let names = FIRST_NAMES
        .iter()
        .flat_map(|first| LAST_NAMES.iter().map(move |last| (first, last)));
    let reader = |(first, last): (&&str, &&str)| {
        let email = format!(
            "{}.{}@example.com",
            first.to_lowercase(),
            last.to_lowercase()
        );
        let fields = [
            (unique, email.as_str()),
            ("firstname", first),
            ("lastname", last),
        ];
        Reader {
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            visitor: VisitorId(app.clock.new_id(now)),
        }
    };
    names.map(reader).collect()
}

async fn mail(
    app: &AdminState,
    number: usize,
    letter: &Letter,
    readers: &[Reader],
    now: Micros,
) -> anyhow::Result<Mailed> {
    // In the morning, as letters are.
    let sent_at = Micros(now.day().0 - letter.days * Micros::DAY + 8 * Micros::HOUR);
    let draft = NewDelivery {
        label: letter.label.to_owned(),
        sent_at: Some(sent_at),
        utm: Utm {
            source: Some("letter".to_owned()),
            medium: Some("email".to_owned()),
            campaign: Some(letter.label.to_owned()),
            ..Utm::default()
        },
        ..NewDelivery::default()
    };
    let delivery = create_delivery(&app.store, &app.clock, draft).await?;
    let link = |label: &str, path: &str, category: Option<&str>| NewLink {
        url: format!("{SHOP}{path}"),
        label: Some(label.to_owned()),
        category: category.map(str::to_owned),
        ..NewLink::default()
    };
    let drafts = vec![
        link("See the shop", PAGES[number % PAGES.len()].0, Some("shop")),
        link(
            "Read on",
            PAGES[(number + 3) % PAGES.len()].0,
            Some("journal"),
        ),
        link("Our harbour", "/", None),
        link("Unsubscribe", "/goodbye", Some("optout")),
    ];
    let (delivery, links) = create_links(&app.store, &app.clock, &[], delivery.id, drafts).await?;
    let records: Vec<_> = links
        .iter()
        .map(|link| link.record(Some(&delivery)))
        .collect();
    app.links.put(&records).await?;
    let lines: Vec<_> = readers
        .iter()
        .map(|reader| {
            Ok(Recipient::new(
                None,
                reader.fields.clone(),
                None,
                Some("html"),
            ))
        })
        .collect();
    let mailing = Mailing {
        delivery_id: delivery.id,
        wanted: Vec::new(),
    };
    let unique = &app.contacts.unique;
    let sent = store_messages(&app.store, &app.clock, unique, &mailing, &lines, None).await?;
    let messages = sent
        .into_iter()
        .map(|sent| sent.map(|sent| (sent.broadlog_id, sent.contact_id)))
        .collect::<Result<_, _>>()
        .context("a message of the demo was not made")?;
    Ok(Mailed {
        number,
        id: delivery.id,
        sent_at,
        links: links.into_iter().map(|link| (link.id, link.url)).collect(),
        messages,
    })
}

/// What a reader does with a letter, and what machines do before them.
fn react(
    app: &AdminState,
    mailed: &Mailed,
    letter: &Letter,
    index: usize,
    reader: &Reader,
    hits: &mut Vec<Hit>,
) {
    let number = mailed.number;
    let Some((broadlog, _)) = mailed.messages.get(index) else {
        return;
    };
    let hit = |kind: Kind, after: i64| {
        let at = Micros(mailed.sent_at.0 + after);
        let mut hit = Hit::new(HitId(app.clock.new_id(at)), at, kind, Dialect::Native);
        hit.delivery_id = Some(mailed.id);
        hit.broadlog_id = Some(*broadlog);
        hit.provenance = Provenance::Link;
        hit.user_agent = Some(AGENT.to_owned());
        hit
    };
    let judged = |mut hit: Hit, reason: Reason| {
        hit.verdict = reason.verdict();
        hit.note(reason.as_str());
        hit
    };
    if happens(number, index, 1, 18) {
        hits.push(judged(
            hit(Kind::Open, 20 * Micros::SECOND),
            Reason::MailPrivacy,
        ));
    }
    if happens(number, index, 2, 5) {
        for (link, url) in mailed.links.iter().take(3) {
            let mut click = hit(Kind::Click, 3 * Micros::SECOND);
            click.link_id = Some(*link);
            click.page_url = Some(url.clone());
            hits.push(judged(click, Reason::MailScanner));
        }
    }
    if !happens(number, index, 3, letter.opened) {
        return;
    }
    let opened = delay(number, index, 4);
    hits.push(hit(Kind::Open, opened));
    if happens(number, index, 5, 20) {
        hits.push(hit(Kind::Open, opened + delay(number, index, 6)));
    }
    if !happens(number, index, 7, letter.clicked * 100 / letter.opened) {
        return;
    }
    let which = [0, 0, 0, 1, 1, 2];
    let which = which[(chance(number, index, 8) % 6) as usize];
    let which = if happens(number, index, 9, 3) {
        3
    } else {
        which
    };
    let Some((link, url)) = mailed.links.get(which) else {
        return;
    };
    let clicked = opened + 40 * Micros::SECOND;
    let kind = if which == 3 {
        Kind::Optout
    } else {
        Kind::Click
    };
    let mut click = hit(kind, clicked);
    click.link_id = Some(*link);
    click.page_url = Some(url.clone());
    click.visitor_id = Some(reader.visitor);
    hits.push(click);
    if which == 3 {
        return;
    }
    let pages = 1 + chance(number, index, 10) % 4;
    for page in 0..pages {
        let place = (which + number + page as usize) % PAGES.len();
        let mut view = hit(
            Kind::Pageview,
            clicked + (page as i64 * 45 + 2) * Micros::SECOND,
        );
        shown(&mut view, place);
        view.link_id = Some(*link);
        view.visitor_id = Some(reader.visitor);
        view.provenance = Provenance::Session;
        hits.push(view);
    }
    if happens(number, index, 11, 19) {
        let mut order = hit(Kind::Transaction, clicked + 6 * MINUTE);
        let items = 1 + (chance(number, index, 12) % 3) as i32;
        order.page_url = Some(format!("{SHOP}/thank-you"));
        order.page_title = Some("Thank you".to_owned());
        order.link_id = Some(*link);
        order.visitor_id = Some(reader.visitor);
        order.provenance = Provenance::Session;
        order.revenue = Some(Money(499_000 * i64::from(items)));
        order.currency = Currency::parse("EUR");
        order.order_id = Some(format!("Q9-{number}{index:03}"));
        order.quantity = Some(items);
        hits.push(order);
    }
}

fn shown(hit: &mut Hit, place: usize) {
    if let Some((path, title)) = PAGES.get(place) {
        hit.page_url = Some(format!("{SHOP}{path}"));
        hit.page_title = Some((*title).to_owned());
    }
}

/// What people see of the shop who had no letter, and a crawler.
fn visits(app: &AdminState, now: Micros, hits: &mut Vec<Hit>) {
    for day in 0..30 {
        let visits = 6 + chance(100, day, 0) % 9;
        for visit in 0..visits as usize {
            let of = day * 100 + visit;
            let minute = 7 * 60 + (chance(101, of, 0) % (15 * 60)) as i64;
            let start = Micros(now.day().0 - day as i64 * Micros::DAY + minute * MINUTE);
            let visitor = VisitorId(app.clock.new_id(start));
            let is_crawler = happens(101, of, 1, 14);
            for page in 0..1 + chance(101, of, 2) % 4 {
                let at = Micros(start.0 + page as i64 * 50 * Micros::SECOND);
                let id = HitId(app.clock.new_id(at));
                let mut hit = Hit::new(id, at, Kind::Pageview, Dialect::Native);
                shown(
                    &mut hit,
                    (chance(101, of, 3 + page) % PAGES.len() as u64) as usize,
                );
                hit.user_agent = Some(AGENT.to_owned());
                if is_crawler {
                    hit.user_agent = Some("Googlebot/2.1".to_owned());
                    hit.verdict = Verdict::Bot;
                    hit.note(Reason::Crawler.as_str());
                } else {
                    hit.visitor_id = Some(visitor);
                    hit.visitor_is_new = page == 0;
                }
                if page == 0 && !is_crawler {
                    let from = chance(101, of, 20) as usize % (REFERRERS.len() + 2);
                    hit.referrer = REFERRERS.get(from).map(|from| (*from).to_owned());
                    if from == 3 {
                        hit.utm = Utm {
                            source: Some("mastodon".to_owned()),
                            medium: Some("social".to_owned()),
                            campaign: Some("Winter".to_owned()),
                            ..Utm::default()
                        };
                    }
                }
                hits.push(hit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_react_soon_and_within_days() {
        let mut delays: Vec<_> = (0..1_000).map(|reader| delay(1, reader, 4)).collect();
        delays.sort_unstable();
        assert!(delays[0] >= 4 * MINUTE);
        assert!(delays[500] < 6 * Micros::HOUR, "{}", delays[500] / MINUTE);
        assert!(delays[999] < 3 * Micros::DAY);
        let some = (0..1_000)
            .filter(|reader| happens(1, *reader, 3, 30))
            .count();
        assert!((250..350).contains(&some), "{some}");
    }
}
