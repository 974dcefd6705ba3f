//! The sending side: what a sender gives (deliveries, links, messages), checked, and how it is stored.
//!
//! API, command line and demo come through here, so that one rule holds for all three. A mistake is told with the name of the field.

mod draft;
pub mod messages;
mod page_tags;
mod publish;

pub use draft::{DraftError, NewDelivery, NewLink, random_slug};
pub use page_tags::{NewPageTag, create_page_tags, replace_page_tag};
pub use publish::{SendingError, create_delivery, create_links, create_short_link};
