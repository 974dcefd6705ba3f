//! What benchmarks and tests of the running server need of the inside: no interface, and nobody
//! else's. Everything that is not here and that the program does not use is dead, and the compiler
//! says so.

pub use crate::config::{Config, Flags};
pub use crate::model::clock::{Clock, Micros};
pub use crate::model::form::{Form, FormId};
pub use crate::model::hit::{
    BroadlogId, DeliveryId, Dialect, Hit, HitId, Kind, LeastProof, LinkId, Money, Utm, VisitorId,
};
pub use crate::model::keys::{Keys, Purpose};
pub use crate::model::link::{LinkRecord, LinkToken};
pub use crate::model::site::Site;
pub use crate::projection::{Projection, ProjectionRules};
pub use crate::queue::local::{Spool, SpoolLimits};
pub use crate::queue::sink::Sink;
pub use crate::store::hits::COLUMNS as HIT_COLUMNS;
pub use crate::store::{Either, Store, Tags, is_away};
pub use crate::tracking::Rules;
pub use crate::tracking::inbound::Inbound;
pub use crate::tracking::session::{BROADLOG_COOKIE, DELIVERY_COOKIE};
pub use crate::tracking::visitor::VISITOR_COOKIE;
pub use crate::tracking::visitor::foreign_visitor;

/// Adobe's decoders.
pub mod adobe {
    pub use crate::tracking::adobe::{Request, click, message, read, tag};
}
/// Mapp's decoders.
pub mod mapp {
    pub use crate::tracking::mapp::{Sender, batch, collect, read_path};
}
/// Mautic's decoders.
pub mod mautic {
    pub use crate::tracking::mautic::form::{Post, submit};
    pub use crate::tracking::mautic::php::decode as decode_php;
}
/// Our own decoders.
pub mod native {
    pub use crate::tracking::native::{click, collect, open};
}
/// The verdict.
pub mod verdict {
    pub use crate::tracking::verdict::{Elapsed, Facts, Lists, Surface, explain};
}
/// What waits in a spool.
pub mod waiting {
    pub use crate::queue::waiting::status;
}
