//! Forms that sites post: what they may hold, whom their fields describe and where they return to.
//!
//! A form is made by the operator through the API; a submission only names it. So what a submission
//! may do is decided here: which fields describe a contact, and to which hosts a visitor may be
//! sent back. Nothing here does I/O.

mod check;

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

pub use check::FormError;

use crate::model::clock::Micros;
use crate::model::host_pattern::covers;
use crate::model::link::check_template;
use crate::model::wire;

/// One form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FormId(pub i64);

impl fmt::Display for FormId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A form as the operator defines it. One that has passed [`Form::check`] is valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Form {
    /// Name in reports: the hit's `event`.
    pub name: String,
    /// Name on pages (`mauticform_<alias>`): lower-case letters, digits, `-` and `_`. Derived from
    /// the name if empty.
    pub alias: String,
    /// Its fields, in the order of the page.
    pub fields: Vec<FormField>,
    /// Where a visitor goes if the page does not say, or is not allowed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// Hosts that a submission may return to, beside the host of `return_url`: `www.example.com`,
    /// `*.example.com`.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// The button's label; by default ours, in the reader's language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submit_label: Option<String>,
    /// Told after a submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_message: Option<String>,
    /// Shown instead of the list of what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Since when it takes nothing.
    #[serde(
        default,
        with = "wire::option_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended_at: Option<Micros>,
    /// Where its visitors go since then; without it they are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_url: Option<String>,
}

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FormField {
    /// Its name in submissions: `mauticform[<alias>]`.
    pub alias: String,
    /// What people call it; the alias if empty.
    pub label: String,
    /// What it may hold.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// Whether it is required.
    #[serde(default)]
    pub required: bool,
    /// Makes it required depending on another field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_if: Option<RequiredIf>,
    /// The choices; empty allows anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// An example shown until somebody types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    /// The initial value. A submission without the field has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The contact's field that it sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_field: Option<String>,
}

/// A choice: `"M"`, or `{"value": "m", "label": "Medium"}` if the label differs from the submitted
/// value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "an option is a text, or an object of `value` and `label`"
)]
pub enum Choice {
    /// One word for both.
    Plain(String),
    /// A word for each.
    Labelled {
        /// What is submitted.
        value: String,
        /// What people read.
        label: String,
    },
}

impl Choice {
    /// What is submitted.
    pub fn value(&self) -> &str {
        match self {
            Self::Plain(value) | Self::Labelled { value, .. } => value,
        }
    }

    /// What people read.
    pub fn label(&self) -> &str {
        match self {
            Self::Plain(label) | Self::Labelled { label, .. } => label,
        }
    }
}

impl From<&str> for Choice {
    fn from(value: &str) -> Self {
        Self::Plain(value.to_owned())
    }
}

/// When an otherwise optional field is required.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequiredIf {
    /// The alias of the other field.
    pub field: String,
    /// One of its values must be one of these; if empty, it must have any value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What a field may hold. Names are HTML's; Mautic's own are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A line.
    #[default]
    Text,
    /// An e-mail address.
    Email,
    /// A telephone number, in any spelling.
    Tel,
    /// A web address.
    Url,
    /// A number.
    Number,
    /// A day.
    Date,
    /// A day and a time.
    DateTime,
    /// Any number of options.
    #[serde(alias = "checkboxgrp")]
    Checkbox,
    /// One option.
    #[serde(alias = "radiogrp")]
    Radio,
    /// One option or several.
    #[serde(alias = "country")]
    Select,
    /// Lines.
    Textarea,
    /// What the page fills in.
    Hidden,
    /// A file; its name is kept, its content is not.
    File,
    /// Nothing: the page hides it, and only programs fill it in.
    Honeypot,
}

impl Form {
    /// The page that a request names, if visitors of this form may be sent to it. Always `http` or
    /// `https`.
    pub fn allowed_url(&self, text: &str) -> Option<Url> {
        let url = Url::parse(&check_template(text).ok()?).ok()?;
        self.allows_host(url.host_str()?).then_some(url)
    }

    /// Whether visitors may be sent back to a host. Ports and schemes do not matter.
    pub fn allows_host(&self, host: &str) -> bool {
        let own = self.own_url();
        own.as_ref().and_then(Url::host_str) == Some(host)
            || self
                .allowed_hosts
                .iter()
                .any(|pattern| covers(pattern, host))
    }

    /// Its own page.
    pub fn own_url(&self) -> Option<Url> {
        Url::parse(self.return_url.as_deref()?).ok()
    }
}
