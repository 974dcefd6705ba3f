//! The check of a definition: what an operator may write, and the form in which it is stored.

use std::fmt;

use super::{Choice, FieldKind, Form, FormField};
use crate::model::hit::{Limit, clean};
use crate::model::host_pattern::HostPattern;
use crate::model::link::check_template;

/// Maximum number of fields: a hit's `extra` has room for 200 entries.
const MOST_FIELDS: usize = 150;
/// Most options of a field.
const MOST_OPTIONS: usize = 500;
/// Most allowed hosts.
const MOST_HOSTS: usize = 100;
/// Longest message: it travels in a URL.
const MESSAGE: Limit = Limit(2_000);
/// Names that a submission uses itself, and the name under which its form is kept.
const RESERVED: [&str; 8] = [
    "formid",
    "formname",
    "return",
    "messenger",
    "submit",
    "form_id",
    "mautic_device_id",
    "mauticpage",
];

/// A field of a definition that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct FormError {
    /// Its path: `fields[2].alias`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl Form {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// A text is empty, too long or holds control characters; an alias is reserved or given twice;
    /// a host or URL is none.
    pub fn check(self) -> Result<Self, FormError> {
        let name = required("name", &self.name, Limit::NAME)?;
        let alias = match optional("alias", Some(self.alias), Limit::NAME)? {
            Some(alias) => alias.to_lowercase(),
            None => alias_of(&name),
        };
        if !is_alias(&alias) {
            return Err(wrong("alias", "may contain only letters, digits, - and _"));
        }
        if self.fields.len() > MOST_FIELDS {
            return Err(wrong(
                "fields",
                format!("are too many; at most {MOST_FIELDS} are allowed"),
            ));
        }
        let mut fields: Vec<FormField> = Vec::with_capacity(self.fields.len());
        for (index, field) in self.fields.into_iter().enumerate() {
            let field = field.check(index)?;
            let at = |part: &str| format!("fields[{index}].{part}");
            if fields.iter().any(|had| had.alias == field.alias) {
                return Err(wrong(at("alias"), "is already used by another field"));
            }
            if field.contact_field.is_some()
                && fields
                    .iter()
                    .any(|had| had.contact_field == field.contact_field)
            {
                return Err(wrong(
                    at("contact_field"),
                    "is already set by another field",
                ));
            }
            fields.push(field);
        }
        for (index, field) in fields.iter().enumerate() {
            let Some(when) = &field.required_if else {
                continue;
            };
            let is_other = |had: &FormField| had.alias == when.field && had.alias != field.alias;
            if !fields.iter().any(is_other) {
                let at = format!("fields[{index}].required_if.field");
                return Err(wrong(at, "is not the alias of another field"));
            }
        }
        if self.allowed_hosts.len() > MOST_HOSTS {
            return Err(wrong(
                "allowed_hosts",
                format!("are too many; at most {MOST_HOSTS} are allowed"),
            ));
        }
        let allowed_hosts = self
            .allowed_hosts
            .iter()
            .enumerate()
            .map(|(index, host)| {
                check_host(host).map_err(|why| wrong(format!("allowed_hosts[{index}]"), why))
            })
            .collect::<Result<_, _>>()?;
        let return_url = match self.return_url.filter(|url| !url.trim().is_empty()) {
            Some(url) => Some(check_template(&url).map_err(|error| wrong("return_url", error))?),
            None => None,
        };
        let end_url = match self.end_url.filter(|url| !url.trim().is_empty()) {
            Some(url) => Some(check_template(&url).map_err(|error| wrong("end_url", error))?),
            None => None,
        };
        Ok(Self {
            name,
            alias,
            fields,
            return_url,
            allowed_hosts,
            ended_at: self.ended_at,
            end_url,
            submit_label: optional("submit_label", self.submit_label, Limit::NAME)?,
            success_message: optional("success_message", self.success_message, MESSAGE)?,
            error_message: optional("error_message", self.error_message, MESSAGE)?,
        })
    }
}

impl FormField {
    fn check(self, index: usize) -> Result<Self, FormError> {
        let at = |part: &str| format!("fields[{index}].{part}");
        let alias = required(&at("alias"), &self.alias, Limit(100))?;
        if !is_alias(&alias) {
            return Err(wrong(
                at("alias"),
                "may contain only letters, digits, - and _",
            ));
        }
        if RESERVED.iter().any(|name| alias.eq_ignore_ascii_case(name)) {
            return Err(wrong(at("alias"), "is reserved in submissions"));
        }
        let is_filled = self.required || self.contact_field.is_some() || self.default.is_some();
        if self.kind == FieldKind::Honeypot && is_filled {
            let why = "is a honeypot, which people leave empty: leave out required, default and \
                contact_field";
            return Err(wrong(at("type"), why));
        }
        let conditions = self
            .required_if
            .as_ref()
            .map_or(0, |when| when.values.len());
        if conditions > MOST_OPTIONS {
            let why = format!("are too many; at most {MOST_OPTIONS} are allowed");
            return Err(wrong(at("required_if.values"), why));
        }
        if self.options.len() > MOST_OPTIONS {
            return Err(wrong(
                at("options"),
                format!("are too many; at most {MOST_OPTIONS} are allowed"),
            ));
        }
        let options = self
            .options
            .iter()
            .enumerate()
            .map(|(place, option)| check_choice(&at(&format!("options[{place}]")), option))
            .collect::<Result<Vec<Choice>, _>>()?;
        let default = optional(&at("default"), self.default, Limit::TITLE)?;
        let is_chosen = |value: &str| options.iter().any(|option| option.value() == value);
        if let Some(value) = &default
            && !options.is_empty()
            && !is_chosen(value)
        {
            return Err(wrong(at("default"), "is not one of the options"));
        }
        Ok(Self {
            label: optional(&at("label"), Some(self.label), Limit::NAME)?
                .unwrap_or_else(|| alias.clone()),
            alias,
            options,
            placeholder: optional(&at("placeholder"), self.placeholder, Limit::NAME)?,
            default,
            contact_field: optional(&at("contact_field"), self.contact_field, Limit(100))?,
            ..self
        })
    }
}

fn wrong(field: impl Into<String>, why: impl fmt::Display) -> FormError {
    FormError {
        field: field.into(),
        why: why.to_string(),
    }
}

fn required(field: &str, text: &str, limit: Limit) -> Result<String, FormError> {
    match clean(text, limit) {
        (_, Some("cut")) => Err(wrong(
            field,
            format!("is longer than {} characters", limit.0),
        )),
        (_, Some(_)) => Err(wrong(field, "contains control characters")),
        (text, None) if text.is_empty() => Err(wrong(field, "is empty")),
        (text, None) => Ok(text.into_owned()),
    }
}

fn optional(field: &str, text: Option<String>, limit: Limit) -> Result<Option<String>, FormError> {
    text.filter(|text| !text.trim().is_empty())
        .map(|text| required(field, &text, limit))
        .transpose()
}

fn check_choice(field: &str, choice: &Choice) -> Result<Choice, FormError> {
    let value = required(field, choice.value(), Limit::NAME)?;
    let label = optional(field, Some(choice.label().to_owned()), Limit::NAME)?;
    Ok(match label.filter(|label| *label != value) {
        Some(label) => Choice::Labelled { value, label },
        None => Choice::Plain(value),
    })
}

fn is_alias(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// As Mautic derives it: letters and digits of the name.
fn alias_of(name: &str) -> String {
    let alias: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    if alias.is_empty() {
        "form".to_owned()
    } else {
        alias
    }
}

/// A host as URLs write it, or a pattern for all hosts below one.
fn check_host(text: &str) -> Result<String, String> {
    let pattern = HostPattern::parse(text.trim()).map_err(|wrong| wrong.to_string())?;
    // `*.com` would let anybody in.
    if pattern.is_top_level() {
        return Err("allows a whole top-level domain".to_owned());
    }
    Ok(pattern.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::form::FieldKind;

    fn form() -> Form {
        Form {
            name: "Newsletter".into(),
            alias: String::new(),
            fields: vec![FormField {
                alias: "email".into(),
                label: String::new(),
                kind: FieldKind::Email,
                required: true,
                required_if: None,
                options: Vec::new(),
                placeholder: None,
                default: None,
                contact_field: Some("email".into()),
            }],
            return_url: Some("https://www.example.com/thanks".into()),
            allowed_hosts: vec!["*.Shop.example".into(), "bücher.example".into()],
            submit_label: None,
            success_message: None,
            error_message: None,
            ended_at: None,
            end_url: None,
        }
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let form = form().check().unwrap();
        assert_eq!(form.alias, "newsletter");
        assert_eq!(form.fields[0].label, "email");
        assert_eq!(
            form.allowed_hosts,
            ["*.shop.example", "xn--bcher-kva.example"]
        );
    }

    #[test]
    fn an_option_with_a_word_for_people_is_written_as_one() {
        let read = |text: &str| serde_json::from_str::<Vec<Choice>>(text);
        let options = read(r#"["a", {"value": "b", "label": "B"}, {"value": "c", "label": " "}]"#);
        let mut form = form();
        form.fields[0].options = options.unwrap();
        let form = form.check().unwrap();
        assert_eq!(
            serde_json::to_string(&form.fields[0].options).unwrap(),
            r#"["a",{"value":"b","label":"B"},"c"]"#
        );
        let wrong = read(r#"[{"value": "b", "text": "B"}]"#).unwrap_err();
        assert!(wrong.to_string().contains("`value` and `label`"), "{wrong}");
    }

    #[test]
    fn a_wrong_definition_names_the_field() {
        let field = |change: fn(&mut Form)| {
            let mut form = form();
            change(&mut form);
            form.check().unwrap_err().field
        };
        assert_eq!(field(|form| form.name = " ".into()), "name");
        assert_eq!(field(|form| form.alias = "a b".into()), "alias");
        assert_eq!(
            field(|form| form.fields[0].alias = "Return".into()),
            "fields[0].alias"
        );
        assert_eq!(
            field(|form| form.fields.push(form.fields[0].clone())),
            "fields[1].alias"
        );
        assert_eq!(
            field(|form| {
                let mut twin = form.fields[0].clone();
                twin.alias = "email2".into();
                form.fields.push(twin);
            }),
            "fields[1].contact_field"
        );
        assert_eq!(
            field(|form| form.fields[0].options = vec!["a".into(), "".into()]),
            "fields[0].options[1]"
        );
        assert_eq!(
            field(|form| {
                form.fields[0].options = vec!["a".into()];
                form.fields[0].default = Some("b".into());
            }),
            "fields[0].default"
        );
        assert_eq!(
            field(|form| form.fields[0].placeholder = Some("x".repeat(256))),
            "fields[0].placeholder"
        );
        for host in [
            "",
            "*",
            "*.com",
            "https://a.example",
            "a.example/b",
            "a b.example",
            "a.example:80",
            "x@a.example",
        ] {
            let mut form = form();
            form.allowed_hosts = vec!["a.example".into(), host.into()];
            let error = form.check().unwrap_err();
            assert_eq!(error.field, "allowed_hosts[1]", "{host}");
        }
        assert_eq!(
            field(|form| form.return_url = Some("javascript:alert(1)".into())),
            "return_url"
        );
        assert_eq!(
            field(|form| form.success_message = Some("x".repeat(2_001))),
            "success_message"
        );
    }

    #[test]
    fn only_allowed_hosts_get_their_visitors_back() {
        let form = form().check().unwrap();
        for (url, allowed) in [
            ("https://www.example.com/x", true),
            ("http://www.example.com:8080/x?y#z", true),
            ("https://a.shop.example/", true),
            ("https://a.b.shop.example/", true),
            ("https://BÜCHER.example/", true),
            ("https://www.example.com./x", false),
            ("https://a.shop.example./", true),
            ("https://shop.example/", false),
            ("https://evilshop.example/", false),
            ("https://example.com/", false),
            ("https://www.example.com.evil.example/", false),
            ("https://www.example.com@evil.example/", false),
            ("https://user@www.example.com/", false),
            ("https:\\\\evil.example\\@www.example.com/", false),
            ("//www.example.com/", false),
            ("/thanks", false),
            ("javascript://www.example.com/%0aalert(1)", false),
            ("data:text/html,x", false),
            ("", false),
        ] {
            assert_eq!(form.allowed_url(url).is_some(), allowed, "{url}");
        }
    }
}
