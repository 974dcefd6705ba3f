//! The sending side: what a sender gives (deliveries, links, messages), checked, and how it is
//! stored.
//!
//! API, command line and demo come through here, so the same rules apply to all three. An error
//! names the field.

pub mod access;
mod campaigns;
mod changes;
pub mod contact_changes;
mod contacts;
pub mod content;
pub mod export;
pub mod import;
pub mod messages;
mod page_tags;
mod password;
pub mod people;
pub mod privacy;
pub mod qr;
pub mod report;
pub mod sign_in;
pub mod site_report;
pub mod users;
pub mod verdicts;
pub mod webhooks;
pub mod wire;

pub use crate::model::draft::{
    DeliveryEdit, DraftError, LinkEdit, NewDelivery, NewLink, NewPageTag, NewToken, NewUser,
    UserEdit, random_slug, user_name,
};
pub use campaigns::{CampaignError, create_delivery, create_links, create_short_link};
pub use changes::{change_delivery, change_link};
pub use page_tags::{create_page_tags, replace_page_tag};
pub use password::PasswordError;
