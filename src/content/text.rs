//! The text part: which links it has, and where values go.
//!
//! Where a URL in a text ends is a matter of taste that programs have long agreed on: a full stop
//! or a bracket behind it is the sentence's, a bracket that was opened in it is its own. linkify
//! knows.

use std::ops::Range;

use linkify::{LinkFinder, LinkKind as Found};

use super::html::{Links, foreign_stays};
use super::judge::{Judged, judge, place_in_url};
use super::placeholder::{Placeholder, What, placeholders};
use super::warning::{Warnings, line_of};
use super::{Compiled, Edit, FoundLink, Part, Place, Put, Rules, wrong};
use crate::model::draft::DraftError;

/// Reads the text part into a mail. Addresses mean what they mean in the HTML.
pub(super) fn read(
    source: &str,
    rules: &Rules<'_>,
    html: &Links,
    compiled: &mut Compiled,
) -> Result<(), DraftError> {
    let mut warnings = Warnings::new(Part::Text, source);
    let all = placeholders(source);
    let mut refused = Vec::new();
    let mut edits = Vec::new();
    let mut rest = &all[..];
    for range in addresses(source, &all) {
        let before = rest.partition_point(|found| found.range.start < range.start);
        fill(&rest[..before], |_| Place::Plain, &mut edits, &mut warnings);
        rest = &rest[before..];
        let inside = rest.partition_point(|found| found.range.start < range.end);
        let (inner, behind) = rest.split_at(inside);
        rest = behind;
        let address = &source[range.clone()];
        match judge(address, None, rules) {
            Judged::Tracked(target) if !html.off.contains(&target) => {
                compiled.links.push(FoundLink {
                    url: target.url.clone(),
                    label: None,
                    kind: html.kinds.get(&target).copied().unwrap_or_default(),
                    part: Part::Text,
                });
                let put = Put::Link {
                    link: compiled.links.len() - 1,
                    values: target.values,
                };
                edits.push(Edit::new(range, put));
                continue;
            }
            Judged::Left(code, why) => warnings.at(range.start, code, why),
            Judged::Refused(why) => {
                refused.push(format!("line {}: {why}", line_of(source, range.start)));
            }
            Judged::Tracked(_) | Judged::Untouched | Judged::Unsubscribe => {}
        }
        let place = |at: usize| place_in_url(&source[range.start..at]);
        fill(inner, place, &mut edits, &mut warnings);
    }
    fill(rest, |_| Place::Plain, &mut edits, &mut warnings);
    if !refused.is_empty() {
        return Err(wrong(
            Part::Text,
            format!("is refused: {}", refused.join("; ")),
        ));
    }
    compiled.text = edits;
    compiled.warnings.extend(warnings.finish());
    Ok(())
}

/// Where addresses are. A placeholder is a part of the address around it, whatever signs it has.
fn addresses(source: &str, placeholders: &[Placeholder<'_>]) -> Vec<Range<usize>> {
    let (mut masked, mut at) = (String::with_capacity(source.len()), 0);
    for placeholder in placeholders {
        masked.push_str(&source[at..placeholder.range.start]);
        masked.extend(std::iter::repeat_n('z', placeholder.range.len()));
        at = placeholder.range.end;
    }
    masked.push_str(&source[at..]);
    let mut finder = LinkFinder::new();
    finder.kinds(&[Found::Url]);
    let is_web = |link: &linkify::Link<'_>| {
        let text = link.as_str();
        ["http://", "https://"].iter().any(|web| {
            text.get(..web.len())
                .is_some_and(|had| had.eq_ignore_ascii_case(web))
        })
    };
    let links = finder.links(&masked).filter(is_web);
    links.map(|link| link.start()..link.end()).collect()
}

fn fill(
    found: &[Placeholder<'_>],
    place: impl Fn(usize) -> Place,
    edits: &mut Vec<Edit>,
    warnings: &mut Warnings<'_>,
) {
    for placeholder in found {
        let put = match placeholder.what {
            What::Unsubscribe => Put::Unsubscribe,
            What::Field(name) => Put::Field {
                name: name.to_owned(),
                place: place(placeholder.range.start),
            },
            What::Foreign(foreign) => {
                let at = placeholder.range.start;
                warnings.at(at, "placeholder", foreign_stays(foreign));
                continue;
            }
        };
        edits.push(Edit::new(placeholder.range.clone(), put));
    }
}
