//! The operator's rules that the projection goes by.

use crate::config;
use crate::model::clock::Micros;
use crate::model::hit::LeastProof;
use crate::store::erasures::Marks;

/// What the projection is configured with.
#[derive(Clone, Debug, Default)]
pub struct ProjectionRules {
    /// Fields that name a contact.
    pub unique: Vec<String>,
    /// Fields that the public can set.
    pub public: Vec<String>,
    /// The least proof that makes revenue of a delivery.
    pub revenue: LeastProof,
    /// Microseconds before a purchase within which clicks are credited.
    pub window: i64,
    /// By what hits of erased persons are known.
    pub erased: Marks,
}

impl ProjectionRules {
    /// Those of the configuration.
    pub fn new(contacts: &config::Contacts, revenue: &config::Revenue) -> Self {
        Self {
            unique: contacts.unique.clone(),
            public: contacts.public.clone(),
            revenue: revenue.proof,
            window: i64::from(revenue.window_days) * Micros::DAY,
            erased: Marks::default(),
        }
    }
}
