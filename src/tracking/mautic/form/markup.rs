//! A form as HTML, with the ids, names and classes by which Mautic's script and a site's own style
//! find its parts. Source: the templates of Mautic's `FormBundle` (`Builder/form`, `Field/*`).
//!
//! | part | found by |
//! |---|---|
//! | the form | `mauticform_<form>`, `data-mautic-form="<form>"` |
//! | a field with its label | `mauticform_<form>_<alias>`, `.mauticform-row` |
//! | what has to be filled in | `data-validate="<alias>"`, `data-validation-type="<type>"` |
//! | an input | `mauticform_input_<form>_<alias>`, `mauticform[<alias>]` |
//! | what is wrong with it | `.mauticform-errormsg` |
//! | messages | `mauticform_<form>_error`, `mauticform_<form>_message` |
//!
//! Aliases are letters, digits, `-` and `_` (`model/form/check.rs`), so ids are made of them as
//! they are; every other text is escaped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::words::Words;
use crate::model::escape::html;
use crate::model::form::{Choice, FieldKind, Form, FormField, FormId};

/// The style of a form whose site gives it none.
const STYLE: &str = "<style>\
    .mauticform_wrapper{max-width:37rem;margin:1rem auto}\
    .mauticform-row{margin-bottom:1.2rem}\
    .mauticform-label{display:block;font-weight:600;margin-bottom:.3rem}\
    .mauticform-required>.mauticform-label:after{content:\" *\";color:#b00020}\
    .mauticform-input,.mauticform-selectbox,.mauticform-textarea{box-sizing:border-box;width:100%;\
    padding:.5rem;font:inherit;color:inherit;background:#fff;border:1px solid #888;border-radius:\
    .25rem}\
    .mauticform-textarea{min-height:7rem}\
    .mauticform-button{font:inherit;font-weight:600;padding:.55rem 1.3rem;border:1px solid #444;\
    border-radius:.25rem;background:#f2f2f2;color:#222;cursor:pointer}\
    .mauticform-button[disabled]{opacity:.6;cursor:default}\
    .mauticform-error,.mauticform-errormsg{display:block;color:#b00020}\
    .mauticform-message{color:#0a6b2d}\
    .mauticform-error:not(:empty),.mauticform-message:not(:empty){margin-bottom:1.2rem}\
    .mauticform-row.mauticform-honeypot,.mauticform-field-hidden{display:none}\
    </style>";

/// A form that is to be shown.
pub(super) struct Markup<'a> {
    pub(super) id: FormId,
    pub(super) form: &'a Form,
    /// What the server's addresses begin with.
    pub(super) base: &'a str,
    pub(super) words: &'a Words,
    /// Prefilled values, by alias.
    pub(super) given: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> Markup<'a> {
    /// The whole form, in its wrapper.
    pub(super) fn html(&self) -> String {
        let Self {
            id,
            form,
            base,
            words,
            ..
        } = self;
        let name = html(&form.alias);
        let action = html(&format!("{base}/form/submit?formId={id}"));
        let has_file = form
            .fields
            .iter()
            .any(|field| field.kind == FieldKind::File);
        let encoding = match has_file {
            true => " enctype=\"multipart/form-data\"",
            false => "",
        };
        let fields: String = form
            .fields
            .iter()
            .enumerate()
            .map(|(place, field)| self.field(place + 1, field))
            .collect();
        format!(
            "<div id=\"mauticform_wrapper_{name}\" class=\"mauticform_wrapper\" lang=\"{}\">{STYLE}\
            <form method=\"post\" action=\"{action}\" id=\"mauticform_{name}\" \
            data-mautic-form=\"{name}\" data-wait=\"{}\" data-failed=\"{}\"{encoding}>\
            <div class=\"mauticform-error\" id=\"mauticform_{name}_error\" role=\"alert\"></div>\
            <div class=\"mauticform-message\" id=\"mauticform_{name}_message\" \
            role=\"status\"></div>\
            <div class=\"mauticform-innerform\">{fields}\
            <div id=\"mauticform_{name}_submit\" class=\"mauticform-row \
            mauticform-button-wrapper\">\
            <button type=\"submit\" class=\"mauticform-button\" \
            id=\"mauticform_input_{name}_submit\" name=\"mauticform[submit]\" \
            value=\"1\">{}</button>\
            </div></div>\
            <input type=\"hidden\" name=\"mauticform[formId]\" id=\"mauticform_{name}_id\" \
            value=\"{id}\">\
            <input type=\"hidden\" name=\"mauticform[return]\" id=\"mauticform_{name}_return\" \
            value=\"\">\
            <input type=\"hidden\" name=\"mauticform[formName]\" id=\"mauticform_{name}_name\" \
            value=\"{name}\">\
            </form></div>",
            html(words.language),
            html(words.wait),
            html(words.failed),
            html(form.submit_label.as_deref().unwrap_or(words.send)),
        )
    }

    /// One field in its row; a hidden one has none.
    fn field(&self, place: usize, field: &'a FormField) -> String {
        let (form, alias) = (html(&self.form.alias), html(&field.alias));
        let look = Look::of(field);
        let input_id = format!("mauticform_input_{form}_{alias}");
        let value = self.values(field).last().unwrap_or_default();
        let described = match field.required {
            true => " aria-required=\"true\"",
            false => "",
        };
        let example = match &field.placeholder {
            Some(example) => format!(" placeholder=\"{}\"", html(example)),
            None => String::new(),
        };
        let named = format!("id=\"{input_id}\" name=\"mauticform[{alias}]\"{described}");
        let mut labelled = input_id.clone();
        let input = match look {
            Look::Hidden => {
                return format!("<input type=\"hidden\" {named} value=\"{}\">", html(value));
            }
            Look::Line(kind) => format!(
                "<input type=\"{kind}\" {named} class=\"mauticform-input\" value=\"{}\"{example}>",
                html(value)
            ),
            Look::File => format!("<input type=\"file\" {named} class=\"mauticform-input\">"),
            Look::Honeypot => format!(
                "<input type=\"text\" {named} class=\"mauticform-input\" value=\"\" \
                autocomplete=\"off\" tabindex=\"-1\">"
            ),
            Look::Lines => format!(
                "<textarea {named} class=\"mauticform-textarea\"{example}>{}</textarea>",
                html(value)
            ),
            Look::List => self.list(&named, field),
            Look::Choices(kind) => {
                labelled = choice_id(kind, field, 0);
                self.choices(kind, field)
            }
        };
        let mut row = format!(
            "<div id=\"mauticform_{form}_{alias}\" class=\"mauticform-row mauticform-{} \
            mauticform-field-{place}",
            look.row()
        );
        // Writing into a string does not fail.
        let _ = match (look, field.required) {
            (Look::Honeypot, _) => {
                write!(row, " mauticform-honeypot\" aria-hidden=\"true\" hidden>")
            }
            (_, true) => write!(
                row,
                " mauticform-required\" data-validate=\"{alias}\" data-validation-type=\"{}\">",
                look.validation()
            ),
            (_, false) => write!(row, "\">"),
        };
        let wrong = match field.kind {
            FieldKind::Email => self.words.email,
            _ => self.words.required,
        };
        let _ = write!(
            row,
            "<label id=\"mauticform_label_{form}_{alias}\" for=\"{labelled}\" \
            class=\"mauticform-label\">{}</label>{input}\
            <span class=\"mauticform-errormsg\" role=\"alert\" \
            style=\"display:none\">{}</span></div>",
            html(&field.label),
            html(wrong)
        );
        row
    }

    /// The initial values of a field: those in the URL, else the definition's.
    fn values(&self, field: &'a FormField) -> impl Iterator<Item = &'a str> {
        let given = self.given.get(&field.alias);
        let default = field.default.as_deref().filter(|_| given.is_none());
        let given = given.map_or(&[][..], Vec::as_slice);
        given.iter().map(String::as_str).chain(default)
    }

    fn list(&self, named: &str, field: &'a FormField) -> String {
        let example = html(field.placeholder.as_deref().unwrap_or_default());
        let mut list = format!(
            "<select {named} class=\"mauticform-selectbox\"><option value=\"\">{example}</option>"
        );
        for option in &field.options {
            let selected = match self.values(field).any(|value| value == option.value()) {
                true => " selected",
                false => "",
            };
            let (value, label) = (html(option.value()), html(option.label()));
            let _ = write!(list, "<option value=\"{value}\"{selected}>{label}</option>");
        }
        list + "</select>"
    }

    fn choices(&self, kind: &str, field: &'a FormField) -> String {
        let alias = html(&field.alias);
        let brackets = match kind {
            "checkbox" => "[]",
            _ => "",
        };
        let mut rows = String::new();
        for (place, option) in field.options.iter().enumerate() {
            let checked = match self.values(field).any(|value| value == option.value()) {
                true => " checked",
                false => "",
            };
            let id = choice_id(kind, field, place);
            let (value, label) = (html(option.value()), html(option.label()));
            let _ = write!(
                rows,
                "<div class=\"mauticform-{kind}grp-row\"><input type=\"{kind}\" id=\"{id}\" \
                name=\"mauticform[{alias}]{brackets}\" class=\"mauticform-{kind}grp-{kind}\" \
                value=\"{value}\"{checked}> <label for=\"{id}\" \
                class=\"mauticform-{kind}grp-label\">{label}</label></div>"
            );
        }
        rows
    }
}

/// The id of one of a field's choices: letters and digits of its value, and its position.
fn choice_id(kind: &str, field: &FormField, place: usize) -> String {
    let option = field.options.get(place).map_or("", Choice::value);
    let plain: String = option.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("mauticform_{kind}grp_{kind}_{}_{plain}{place}", field.alias)
}

/// How a field looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// An input of this type.
    Line(&'static str),
    Lines,
    List,
    /// `checkbox` or `radio`, one for each option.
    Choices(&'static str),
    File,
    Hidden,
    Honeypot,
}

impl Look {
    fn of(field: &FormField) -> Self {
        match field.kind {
            // Without options any value is right, so people write it.
            FieldKind::Select | FieldKind::Radio | FieldKind::Checkbox
                if field.options.is_empty() =>
            {
                Self::Line("text")
            }
            FieldKind::Select => Self::List,
            FieldKind::Radio => Self::Choices("radio"),
            FieldKind::Checkbox => Self::Choices("checkbox"),
            FieldKind::Textarea => Self::Lines,
            FieldKind::Hidden => Self::Hidden,
            FieldKind::File => Self::File,
            FieldKind::Honeypot => Self::Honeypot,
            FieldKind::Email => Self::Line("email"),
            FieldKind::Tel => Self::Line("tel"),
            FieldKind::Date => Self::Line("date"),
            FieldKind::DateTime => Self::Line("datetime-local"),
            // As `url` and `number` browsers refuse `example.com` and `1 000`, which are taken.
            FieldKind::Text | FieldKind::Url | FieldKind::Number => Self::Line("text"),
        }
    }

    /// The kind in the row's class.
    fn row(self) -> &'static str {
        match self {
            Self::Line("email") => "email",
            Self::Line("tel") => "tel",
            Self::Line("date") => "date",
            Self::Line("datetime-local") => "datetime",
            Self::Line(_) | Self::Hidden | Self::Honeypot => "text",
            Self::Lines => "text",
            Self::List => "select",
            Self::Choices("radio") => "radiogrp",
            Self::Choices(_) => "checkboxgrp",
            Self::File => "file",
        }
    }

    /// Mautic's script's name for it.
    fn validation(self) -> &'static str {
        match self {
            Self::Lines => "textarea",
            look => look.row(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::words;
    use super::*;

    /// The markup of a form with one field of each kind, all of whose texts are this one.
    fn markup(text: &str) -> String {
        use FieldKind::*;
        let choice = Choice::Labelled {
            value: text.to_owned(),
            label: text.to_owned(),
        };
        let kinds = [
            Text, Email, Tel, Url, Number, Date, DateTime, Checkbox, Radio, Select, Textarea,
            Hidden, File, Honeypot,
        ];
        let fields = kinds
            .into_iter()
            .enumerate()
            .map(|(place, kind)| FormField {
                alias: format!("f{place}"),
                label: text.to_owned(),
                kind,
                required: place % 2 == 0,
                required_if: None,
                options: vec![choice.clone(), "other".into()],
                placeholder: Some(text.to_owned()),
                default: Some(text.to_owned()),
                contact_field: None,
            });
        let form = Form {
            name: text.to_owned(),
            alias: "all".to_owned(),
            fields: fields.collect(),
            return_url: None,
            allowed_hosts: Vec::new(),
            submit_label: Some(text.to_owned()),
            success_message: None,
            error_message: None,
            ended_at: None,
            end_url: None,
        };
        let given = ["f1", "f7", "f10"].map(|alias| (alias.to_owned(), vec![text.to_owned()]));
        let markup = Markup {
            id: FormId(3),
            form: &form,
            base: "",
            words: words::of(""),
            given: &BTreeMap::from(given),
        };
        markup.html()
    }

    /// How a text becomes markup.
    fn signs(html: &str) -> String {
        html.chars().filter(|c| "<>\"'=".contains(*c)).collect()
    }

    proptest! {
        #[test]
        fn no_text_of_a_form_is_markup(text in "(\\PC|[<>\"'&/ \u{0}\n]){1,30}") {
            // An equals sign is harmless inside quotes, and would only be counted here.
            let text = text.replace('=', "");
            prop_assert_eq!(signs(&markup(&text)), signs(&markup("x")));
        }
    }

    #[test]
    fn every_kind_has_its_input_and_its_row() {
        let html = markup("x");
        for part in [
            "<input type=\"email\" id=\"mauticform_input_all_f1\" name=\"mauticform[f1]\"",
            "data-validate=\"f8\" data-validation-type=\"radiogrp\"",
            "name=\"mauticform[f7][]\" class=\"mauticform-checkboxgrp-checkbox\" value=\"x\" checked>",
            "<option value=\"x\" selected>x</option>",
            "<input type=\"hidden\" id=\"mauticform_input_all_f11\" name=\"mauticform[f11]\" value=\"x\">",
            " mauticform-honeypot\" aria-hidden=\"true\" hidden>",
            "enctype=\"multipart/form-data\"",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
        // Its default is for people.
        assert!(!html.contains("name=\"mauticform[f13]\" class=\"mauticform-input\" value=\"x\""));
    }
}
