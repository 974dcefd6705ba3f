//! Campaign parameters.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Campaign parameters, each at most 255 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Utm {
    /// `utm_source`
    pub source: Option<String>,
    /// `utm_medium`
    pub medium: Option<String>,
    /// `utm_campaign`
    pub campaign: Option<String>,
    /// `utm_term`
    pub term: Option<String>,
    /// `utm_content`
    pub content: Option<String>,
}

impl Utm {
    /// Names of the parameters and columns, in the order of the fields.
    pub const NAMES: [&str; 5] = [
        "utm_source",
        "utm_medium",
        "utm_campaign",
        "utm_term",
        "utm_content",
    ];

    /// The values, in the order of the names.
    pub fn values(&self) -> [&Option<String>; 5] {
        [
            &self.source,
            &self.medium,
            &self.campaign,
            &self.term,
            &self.content,
        ]
    }

    /// The field for a parameter name.
    pub fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        let slots = [
            &mut self.source,
            &mut self.medium,
            &mut self.campaign,
            &mut self.term,
            &mut self.content,
        ];
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        slots.into_iter().nth(at)
    }

    /// Names and values that are set.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = Self::NAMES.into_iter().zip(self.values());
        pairs.filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }
}
