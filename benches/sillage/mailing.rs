//! What was sent before the benchmark begins: deliveries with their links, and messages to
//! contacts.
//!
//! Written by SQL, in numbers that follow from each other: message `i` is broadlog `i` to contact
//! `i`, of delivery `1 + i % 4`, whose links are the five from `5 × (delivery - 1) + 1`. So a
//! tracked link can be signed without asking the database.

use sillage::both;
use sillage::door::{
    BroadlogId, Clock, DeliveryId, Either, Keys, LinkId, LinkRecord, LinkToken, Store, Utm,
};

use super::rig::server::SIGNING_KEY;

const DELIVERIES: i64 = 4;
const LINKS_EACH: i64 = 5;

/// A prepared mailing.
pub struct Mailing {
    /// Sign its links.
    pub keys: Keys,
    /// Its links; the one with id `n` at `n - 1`.
    pub links: Vec<LinkRecord>,
    /// How many messages it has.
    pub messages: u64,
    /// An hour before now: nobody clicks within the minute of sending.
    sent_minute: i64,
}

impl Mailing {
    /// The numbers of a mailing; nothing is written.
    pub fn of(messages: u64) -> anyhow::Result<Self> {
        let links = (1..=DELIVERIES * LINKS_EACH)
            .map(|id| LinkRecord {
                id: LinkId(id),
                url: destination(id),
                slug: None,
                delivery_id: Some(DeliveryId(1 + (id - 1) / LINKS_EACH)),
                category: None,
                expires_at: None,
                expiration_url: None,
                utm: Utm::default(),
            })
            .collect();
        Ok(Self {
            keys: Keys::parse(&[SIGNING_KEY.to_owned()])?,
            links,
            messages,
            sent_minute: Clock::system().now().minutes() - 60,
        })
    }

    /// Writes a mailing into an empty database.
    pub async fn write(&self, store: &Store) -> anyhow::Result<()> {
        let now = Clock::system().now();
        let mut tx = store.begin_lane().await?;
        let sql = "insert into deliveries (id, label, channel, sent_at, utm_source, utm_medium, messages, created_at, changed_at)
                   values ($1, 'Spring newsletter', 'email', $2, 'newsletter', 'email', $3, $2, $2)";
        for delivery in 1..=DELIVERIES {
            both!(&mut tx, c => sqlx::query(sql).bind(delivery).bind(now).bind(self.messages as i64 / DELIVERIES).execute(&mut **c).await.map(|_| ()))?;
        }
        let sql = "insert into links (id, delivery_id, url, label, created_at, changed_at) values \
            ($1, $2, $3, 'offer', $4, $4)";
        for link in &self.links {
            both!(&mut tx, c => sqlx::query(sql).bind(link.id.0).bind(link.delivery_id.map(|id| id.0)).bind(&link.url).bind(now).execute(&mut **c).await.map(|_| ()))?;
        }
        for sql in people(&tx) {
            both!(&mut tx, c => sqlx::query(sql).bind(self.messages as i64).bind(now).execute(&mut **c).await.map(|_| ()))?;
        }
        let sql = "update counters set value = $1 where name <> 'hit'";
        both!(&mut tx, c => sqlx::query(sql).bind(self.messages as i64 + 1_000).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await?;
        // Autovacuum would do it within the first minute, in the middle of the measurement.
        store.prepare_months(now).await?;
        match store.reader() {
            Either::Postgres(pool) => sqlx::raw_sql("vacuum analyze")
                .execute(pool)
                .await
                .map(|_| ()),
            Either::Sqlite(_) => Ok(()),
        }?;
        Ok(())
    }

    /// The delivery of a message.
    pub fn delivery(&self, message: u64) -> DeliveryId {
        DeliveryId(1 + message as i64 % DELIVERIES)
    }

    /// The token of a message's `nth` link; of its open pixel where there is none.
    pub fn token(&self, message: u64, nth: Option<u64>) -> LinkToken {
        let delivery_id = self.delivery(message);
        LinkToken {
            delivery_id,
            broadlog_id: BroadlogId(message as i64),
            link_id: nth
                .map(|nth| LinkId((delivery_id.0 - 1) * LINKS_EACH + 1 + nth as i64 % LINKS_EACH)),
            sent_minute: Some(self.sent_minute),
        }
    }
}

fn destination(id: i64) -> String {
    format!("https://shop.example/spring/offer-{id}?ref=mail")
}

/// Contacts with their e-mail addresses, and a message to each: `$1` how many, `$2` when. Ids,
/// objects and lists are written differently by the two databases.
fn people<P, S>(database: &Either<P, S>) -> [&'static str; 3] {
    match database {
        Either::Postgres(_) => [
            "insert into contacts (id, fields, tags, created_at, changed_at)
             select ('01935000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
                    jsonb_build_object('email', 'reader' || i || '@mail.example', 'firstname', 'Reader'), '{}', $2, $2
             from generate_series(1, $1::bigint) i",
            "insert into contact_keys (field, value, contact_id)
             select 'email', 'reader' || i || '@mail.example', ('01935000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid
             from generate_series(1, $1::bigint) i where $2::timestamptz is not null",
            "insert into broadlogs (id, delivery_id, contact_id, format, created_at)
             select i, 1 + i % 4, ('01935000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'html', $2
             from generate_series(1, $1::bigint) i",
        ],
        Either::Sqlite(_) => [
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)
             insert into contacts (id, fields, tags, created_at, changed_at)
             select unhex('01935000000070008000' || printf('%012x', i)),
                    json_object('email', 'reader' || i || '@mail.example', 'firstname', 'Reader'), '[]', $2, $2 from n",
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)
             insert into contact_keys (field, value, contact_id)
             select 'email', 'reader' || i || '@mail.example', unhex('01935000000070008000' || printf('%012x', i)) from n where $2 is not null",
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)
             insert into broadlogs (id, delivery_id, contact_id, format, created_at)
             select i, 1 + i % 4, unhex('01935000000070008000' || printf('%012x', i)), 'html', $2 from n",
        ],
    }
}
