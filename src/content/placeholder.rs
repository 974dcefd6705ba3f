//! Placeholders in texts and URLs: ours, which are filled in, and those of other programs, which
//! stay.
//!
//! `{{name}}` is a field of the contact. Everything else between such signs is another program's:
//! `{{#if …}}`, `{{{name}}}`, `{{name | filter}}`, Mailchimp's `*|NAME|*`, Salesforce's `%%name%%`.

use std::ops::Range;

/// The name that stands for the message's own way out.
pub(super) const UNSUBSCRIBE: &str = "unsubscribe_url";
/// Longest placeholder, in bytes.
const MOST_LENGTH: usize = 300;
/// Longest name of a field, in characters.
const MOST_NAME: usize = 64;

/// A placeholder in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder<'t> {
    /// Its bytes.
    pub range: Range<usize>,
    /// What it stands for.
    pub what: What<'t>,
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What<'t> {
    /// A field of the contact.
    Field(&'t str),
    /// The message's own way out.
    Unsubscribe,
    /// Something of another program.
    Foreign(&'t str),
}

/// All placeholders of a text, in order.
pub(super) fn placeholders(text: &str) -> Vec<Placeholder<'_>> {
    let (mut all, mut at) = (Vec::new(), 0);
    let mut ends = Ends::of(text);
    while let Some(found) = memchr::memchr3(b'{', b'*', b'%', &text.as_bytes()[at..]) {
        let start = at + found;
        match read(text, start, &mut ends) {
            Some(placeholder) => {
                at = placeholder.range.end;
                all.push(placeholder);
            }
            None => at = start + 1,
        }
    }
    all
}

fn read<'t>(text: &'t str, start: usize, ends: &mut Ends<'t>) -> Option<Placeholder<'t>> {
    let rest = &text[start..];
    let foreign = |length: usize| Placeholder {
        range: start..start + length,
        what: What::Foreign(&rest[..length]),
    };
    if rest.starts_with("{{{") {
        let inner = ends.between(start, "{{{", "}}}")?;
        return Some(foreign(inner.len() + 6));
    }
    if rest.starts_with("{{") {
        let inner = ends.between(start, "{{", "}}")?;
        let length = inner.len() + 4;
        let what = match inner.trim() {
            UNSUBSCRIBE => What::Unsubscribe,
            name if is_name(name) => What::Field(name),
            _ => return Some(foreign(length)),
        };
        let range = start..start + length;
        return Some(Placeholder { range, what });
    }
    if rest.starts_with("*|") {
        let inner = ends.between(start, "*|", "|*")?;
        return Some(foreign(inner.len() + 4));
    }
    let inner = ends.between(start, "%%", "%%")?;
    let is_script = inner.starts_with(['=', '[']);
    let is_word = inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && inner
            .chars()
            .all(|c| c.is_alphanumeric() || "_-. ".contains(c));
    (is_script || is_word).then(|| foreign(inner.len() + 4))
}

/// Where the next end of each sort is: a text of nothing but beginnings is gone through once.
struct Ends<'t> {
    text: &'t str,
    /// Each end and where it was found; behind the text where there is none.
    found: [(&'static str, usize); 4],
}

impl<'t> Ends<'t> {
    fn of(text: &'t str) -> Self {
        Self {
            text,
            found: ["}}}", "}}", "|*", "%%"].map(|end| (end, 0)),
        }
    }

    fn between(&mut self, start: usize, open: &str, close: &'static str) -> Option<&'t str> {
        if !self.text[start..].starts_with(open) {
            return None;
        }
        let from = start + open.len();
        let (_, at) = self.found.iter_mut().find(|(end, _)| *end == close)?;
        if *at < from {
            let found = self.text[from..].find(close);
            *at = found.map_or(self.text.len(), |found| from + found);
        }
        let inner = self.text.get(from..*at)?;
        let is_one = *at < self.text.len()
            && (1..=MOST_LENGTH).contains(&inner.len())
            && !inner.contains(['\n', '\r', '<']);
        is_one.then_some(inner)
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || "_-.".contains(c))
        && name.chars().count() <= MOST_NAME
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_name_is_a_field_and_all_else_is_another_programs() {
        let text = "{{a}} {{ größe-1.x }} {{unsubscribe_url}} {{#if a}} {{{a}}} {{a | b}} \
            *|FNAME|* %%First Name%% %%=v(@x)=%% {{}} {{a {a} *| 100%% off 50%% x%41%%";
        let found: Vec<_> = placeholders(text)
            .into_iter()
            .map(|found| found.what)
            .collect();
        assert_eq!(
            found,
            [
                What::Field("a"),
                What::Field("größe-1.x"),
                What::Unsubscribe,
                What::Foreign("{{#if a}}"),
                What::Foreign("{{{a}}}"),
                What::Foreign("{{a | b}}"),
                What::Foreign("*|FNAME|*"),
                What::Foreign("%%First Name%%"),
                What::Foreign("%%=v(@x)=%%"),
            ]
        );
    }

    proptest! {
        #[test]
        fn they_follow_one_another_and_stand_on_characters(text in "(\\PC|[{}*|%a\n]){0,60}") {
            let mut at = 0;
            for found in placeholders(&text) {
                prop_assert!(found.range.start >= at);
                at = found.range.end;
                prop_assert!(text.get(found.range).is_some());
            }
        }
    }
}
