//! A campaign in the database: a delivery with links, and a message to each contact.

use sillage::both;
use sillage::door::{BroadlogId, Clock, DeliveryId, Keys, LinkId, LinkToken, Tags};
use sqlx::types::Json;
use uuid::Uuid;

use super::Db;
use crate::rig::server::SIGNING_KEY;

/// Where its link leads.
pub const DESTINATION: &str = "https://shop.example/landing";

/// A delivery with one link and messages; ids stand far from those that the server would give.
pub struct Campaign {
    pub delivery: i64,
    pub link: i64,
    /// Messages and whom each went to.
    pub messages: Vec<(i64, Uuid)>,
    keys: Keys,
}

impl Campaign {
    /// Makes one with so many messages; contact `n` has the address `reader<n>@example.com`.
    pub async fn make(db: &Db, messages: usize) -> Self {
        let clock = Clock::system();
        let now = clock.now();
        let mut campaign = Self {
            delivery: 4_711,
            link: 815,
            messages: Vec::new(),
            keys: Keys::parse(&[SIGNING_KEY.to_owned()]).unwrap(),
        };
        both!(db.pool(), pool => sqlx::query(
            "insert into deliveries (id, label, channel, created_at, changed_at) values ($1, \
            'November', 'email', $2, $2)",
        ).bind(campaign.delivery).bind(now).execute(pool).await.map(|_| ()))
        .unwrap();
        both!(db.pool(), pool => sqlx::query(
            "insert into links (id, delivery_id, url, created_at, changed_at) values ($1, $2, $3, \
            $4, $4)",
        ).bind(campaign.link).bind(campaign.delivery).bind(DESTINATION).bind(now).execute(pool).await.map(|_| ())).unwrap();
        for number in 0..messages {
            let (broadlog, contact) = (1_000 + number as i64, clock.new_id(now));
            let email = format!("reader{number}@example.com");
            both!(db.pool(), pool => sqlx::query(
                "insert into contacts (id, fields, tags, created_at, changed_at) values ($1, $2, \
                $3, $4, $4)",
            ).bind(contact).bind(Json(serde_json::json!({ "email": email }))).bind(Tags::default()).bind(now).execute(pool).await.map(|_| ())).unwrap();
            both!(db.pool(), pool => sqlx::query(
                "insert into contact_keys (field, value, contact_id) values ('email', $1, $2)",
            ).bind(&email).bind(contact).execute(pool).await.map(|_| ()))
            .unwrap();
            both!(db.pool(), pool => sqlx::query(
                "insert into broadlogs (id, delivery_id, contact_id, created_at) values ($1, $2, \
                $3, $4)",
            ).bind(broadlog).bind(campaign.delivery).bind(contact).bind(now).execute(pool).await.map(|_| ())).unwrap();
            campaign.messages.push((broadlog, contact));
        }
        campaign
    }

    fn token(&self, message: usize, link_id: Option<LinkId>) -> String {
        LinkToken {
            delivery_id: DeliveryId(self.delivery),
            broadlog_id: BroadlogId(self.messages[message].0),
            link_id,
            sent_minute: None,
        }
        .encode(&self.keys)
    }

    /// `/r/<token>` in a message.
    pub fn link_path(&self, message: usize) -> String {
        format!("/r/{}", self.token(message, Some(LinkId(self.link))))
    }

    /// `/o/<token>.gif` in a message.
    pub fn open_path(&self, message: usize) -> String {
        format!("/o/{}.gif", self.token(message, None))
    }
}
