//! The HTML part: which links it has, where values go, and where the open pixel does.

mod markup;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use url::Url;

use self::markup::{Attribute, Tag, Token};
use super::judge::{Judged, Target, judge, place_in_url};
use super::pair::{Placed, pair};
use super::placeholder::{What, placeholders};
use super::warning::Warnings;
use super::{Compiled, Edit, FoundLink, LinkKind, Part, Place, Put, Rules, wrong};
use crate::model::draft::DraftError;
use crate::model::hint::quote;
use crate::model::text::{Limit, clean};

/// Our attributes. They are taken out of what is sent.
const OFF: &str = "data-sillage";
const KIND: &str = "data-sillage-kind";
/// Attributes whose value is a URL, or begins with one.
const URLS: [&str; 11] = [
    "href",
    "src",
    "background",
    "action",
    "formaction",
    "cite",
    "poster",
    "data",
    "srcset",
    "longdesc",
    "xlink:href",
];
/// Elements that do not part words.
const INLINE: [&str; 11] = [
    "b", "big", "em", "font", "i", "small", "span", "strong", "sub", "sup", "u",
];
/// What a way out is called, in the languages of most mails.
const WAYS_OUT: [&str; 11] = [
    "unsubscribe",
    "abmelden",
    "abbestellen",
    "désabonner",
    "désinscri",
    "darse de baja",
    "cancelar suscripción",
    "disiscri",
    "afmelden",
    "uitschrijven",
    "avregistrera",
];

/// What addresses of ways out have in them, placeholders of other programs too.
const OUT: [&str; 5] = ["unsub", "optout", "opt-out", "opt_out", "abmeld"];

/// What the text part takes over from the HTML: the same address means the same there.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// What a click on a tracked address is.
    pub kinds: HashMap<Target, LinkKind>,
    /// Addresses that are not to be tracked.
    pub off: HashSet<Target>,
}

/// Reads the HTML part into a mail.
pub(super) fn read(
    source: &str,
    rules: &Rules<'_>,
    compiled: &mut Compiled,
) -> Result<Links, DraftError> {
    let mut scan = Scan {
        source,
        rules,
        base: None,
        edits: Vec::new(),
        places: Vec::new(),
        open: None,
        off: HashSet::new(),
        body_end: None,
        html_end: None,
        has_way_out: false,
        refused: Vec::new(),
        warnings: Warnings::new(Part::Html, source),
    };
    let walked = markup::walk(source, |token, is_hidden| scan.see(token, is_hidden));
    let whole = walked.map_err(|too_deep| wrong(Part::Html, too_deep.to_string()))?;
    if !scan.refused.is_empty() {
        return Err(wrong(
            Part::Html,
            format!(
                "is refused: {}; or leave the link out with data-sillage=\"off\"",
                scan.refused.join("; ")
            ),
        ));
    }
    Ok(scan.finish(whole, compiled))
}

/// A place of a tracked link.
#[derive(Debug)]
struct Spot {
    target: Target,
    kind: LinkKind,
    is_hidden: bool,
    start: usize,
    label: String,
    /// Its edit, whose link is counted at the end.
    edit: usize,
}

impl Placed for Spot {
    fn is_hidden(&self) -> bool {
        self.is_hidden
    }

    fn leads_as(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

struct Scan<'s> {
    source: &'s str,
    rules: &'s Rules<'s>,
    /// `<base href>`.
    base: Option<Url>,
    edits: Vec<Edit>,
    places: Vec<Spot>,
    /// The link that the text belongs to.
    open: Option<usize>,
    off: HashSet<Target>,
    body_end: Option<usize>,
    html_end: Option<usize>,
    has_way_out: bool,
    refused: Vec<String>,
    warnings: Warnings<'s>,
}

impl<'s> Scan<'s> {
    fn see(&mut self, token: Token<'s>, is_hidden: bool) {
        match token {
            Token::Start(tag) => self.see_tag(&tag, is_hidden),
            Token::End(name, at) => self.see_end(name, at, is_hidden),
            Token::Text(range) => self.see_text(range),
            Token::Raw(range) => self.see_raw(range),
        }
    }

    fn see_tag(&mut self, tag: &Tag, is_hidden: bool) {
        let is_shape = tag.name.starts_with("v:");
        let is_link = is_shape || matches!(&*tag.name, "a" | "area");
        if is_link {
            self.close();
        }
        self.part_label(&tag.name);
        match &*tag.name {
            "base" if self.base.is_none() => self.base = self.base_of(tag),
            "meta" => self.check_charset(tag),
            "img" => {
                let alt = tag.attribute("alt").and_then(|alt| alt.value.clone());
                if let Some(alt) = alt {
                    self.read_label(alt);
                }
            }
            _ => {}
        }
        let tracked = match is_link {
            true => self.see_link(tag, is_hidden || is_shape),
            false => None,
        };
        for attribute in &tag.attributes {
            if attribute.name == OFF || attribute.name == KIND {
                self.remove(attribute);
            } else if let Some(value) = &attribute.value
                && tracked.as_ref() != Some(value)
            {
                self.fill_attribute(&attribute.name, value.clone());
            }
        }
        if !is_link && (tag.attribute(OFF).is_some() || tag.attribute(KIND).is_some()) {
            self.warnings.at(
                tag.start,
                "attribute",
                "data-sillage and data-sillage-kind belong on links: here they change nothing",
            );
        }
    }

    /// Returns the range of the address if messages have another one there.
    fn see_link(&mut self, tag: &Tag, is_hidden: bool) -> Option<Range<usize>> {
        let value = tag.attribute("href")?.value.clone()?;
        let address = htmlize::unescape_attribute(&self.source[value.clone()]);
        let is_off = self.is_off(tag);
        let kind = self.kind_of(tag);
        let words = address.to_lowercase();
        let is_way_out = OUT.iter().any(|part| words.contains(part));
        self.has_way_out |= kind == LinkKind::Optout || is_way_out;
        match judge(&address, self.base.as_ref(), self.rules) {
            Judged::Unsubscribe => {
                self.has_way_out = true;
                self.put(&value, Put::Unsubscribe);
                return Some(value);
            }
            // What is not tracked may lead anywhere, as everything else in the mail.
            Judged::Tracked(target) if is_off => {
                self.off.insert(target);
            }
            _ if is_off => {}
            Judged::Tracked(target) => {
                let alt = tag.attribute("alt").and_then(|alt| alt.value.clone());
                let edit = self.edits.len();
                self.open = Some(self.places.len());
                self.places.push(Spot {
                    target: target.clone(),
                    kind,
                    is_hidden,
                    start: tag.start,
                    label: String::new(),
                    edit,
                });
                let link = Put::Link {
                    link: 0,
                    values: target.values,
                };
                self.put(&value, link);
                if let Some(alt) = alt.filter(|_| tag.name == "area") {
                    self.read_label(alt);
                    self.close();
                }
                return Some(value);
            }
            Judged::Untouched => {}
            Judged::Left(code, why) => self.warnings.at(tag.start, code, why),
            Judged::Refused(why) => {
                let line = super::warning::line_of(self.source, tag.start);
                self.refused.push(format!("line {line}: {why}"));
            }
        }
        None
    }

    fn is_off(&mut self, tag: &Tag) -> bool {
        let value = |name: &str| {
            let value = tag.attribute(name)?.value.clone();
            Some(value.map_or("", |value| self.source[value].trim()))
        };
        let ours = value(OFF);
        let is_off = value("clicktracking").is_some_and(|value| value.eq_ignore_ascii_case("off"))
            || value("data-msys-clicktrack") == Some("0")
            || value("mautic:disable-tracking").is_some();
        match ours {
            Some(off) if off.eq_ignore_ascii_case("off") => true,
            Some(other) => {
                let why = format!("data-sillage is {} but can only be off", quote(other));
                self.warnings.at(tag.start, "attribute", why);
                is_off
            }
            None => is_off,
        }
    }

    fn kind_of(&mut self, tag: &Tag) -> LinkKind {
        let Some(attribute) = tag.attribute(KIND) else {
            return LinkKind::Click;
        };
        let value = attribute
            .value
            .clone()
            .map_or("", |value| &self.source[value]);
        match &*value.trim().to_ascii_lowercase() {
            "optout" => LinkKind::Optout,
            "mirror" => LinkKind::Mirror,
            "click" => LinkKind::Click,
            _ => {
                let why = format!(
                    "data-sillage-kind is {} but must be optout, mirror or click",
                    quote(value)
                );
                self.warnings.at(tag.start, "attribute", why);
                LinkKind::Click
            }
        }
    }

    fn see_end(&mut self, name: &str, at: usize, is_hidden: bool) {
        self.part_label(name);
        if name.eq_ignore_ascii_case("a")
            || name.get(..2).is_some_and(|v| v.eq_ignore_ascii_case("v:"))
        {
            self.close();
        } else if is_hidden {
            // Outlook's own body is not everybody's.
        } else if name.eq_ignore_ascii_case("body") {
            self.body_end = Some(at);
        } else if name.eq_ignore_ascii_case("html") {
            self.html_end = Some(at);
        }
    }

    fn see_text(&mut self, range: Range<usize>) {
        self.read_label(range.clone());
        // Behind the sign a value would make a tag of itself.
        let begins_tag = |before: &str| {
            ["<", "</", "<!", "<?"]
                .iter()
                .any(|sign| before.ends_with(sign))
        };
        self.fill(range, |before| (!begins_tag(before)).then_some(Place::Html));
    }

    fn see_raw(&mut self, range: Range<usize>) {
        let is_ours = |what| !matches!(what, What::Foreign(_));
        let found = placeholders(&self.source[range.clone()]);
        if let Some(first) = found.iter().find(|found| is_ours(found.what)) {
            self.warnings.at(
                range.start + first.range.start,
                "not_filled",
                "fields in styles and scripts are not filled in: no value is safe there",
            );
        }
    }

    /// Adds to what a reader sees of the open link.
    fn read_label(&mut self, range: Range<usize>) {
        let Some(spot) = self.open.and_then(|open| self.places.get_mut(open)) else {
            return;
        };
        // Longer than any label, with its white space.
        if spot.label.len() < 4_000 {
            let text = &self.source[range];
            let text = &text[..text.floor_char_boundary(4_000)];
            spot.label.push_str(&htmlize::unescape(text));
        }
    }

    /// Parts what a reader sees apart: all but what only styles words.
    fn part_label(&mut self, tag: &str) {
        let is_inline = INLINE.iter().any(|inline| inline.eq_ignore_ascii_case(tag));
        if let Some(spot) = self.open.and_then(|open| self.places.get_mut(open))
            && !is_inline
        {
            spot.label.push(' ');
        }
    }

    fn close(&mut self) {
        let Some(spot) = self.open.take().and_then(|open| self.places.get_mut(open)) else {
            return;
        };
        let words: Vec<&str> = spot.label.split_whitespace().collect();
        let joined = words.join(" ");
        let (label, _) = clean(&joined, Limit::NAME);
        spot.label = label.into_owned();
        if spot.is_hidden {
            return;
        }
        if looks_like_url(&spot.label) {
            let why = format!(
                "the text of the link is an address, {}: mail programs warn of links that show \
                one address and lead to another; write words, or use data-sillage=\"off\"",
                quote(&spot.label)
            );
            self.warnings.at(spot.start, "visible_url", why);
        }
        let words = spot.label.to_lowercase();
        if spot.kind == LinkKind::Click && WAYS_OUT.iter().any(|way| words.contains(way)) {
            self.has_way_out = true;
            let why = format!(
                "{} looks like a way to unsubscribe: give the link data-sillage-kind=\"optout\", \
                or let it lead to {{{{unsubscribe_url}}}}",
                quote(&spot.label)
            );
            self.warnings.at(spot.start, "unsubscribe", why);
        }
    }

    /// Takes an attribute out, with the white space before it where what follows needs none.
    fn remove(&mut self, attribute: &Attribute) {
        let bytes = self.source.as_bytes();
        let is_quoted = |value: &Range<usize>| matches!(bytes[value.start - 1], b'"' | b'\'');
        let end = match &attribute.value {
            Some(value) if is_quoted(value) => value.end + 1,
            Some(value) => value.end,
            None => attribute.name_at.end,
        };
        let mut start = attribute.name_at.start;
        let parts = bytes
            .get(end)
            .is_none_or(|next| *next == b'>' || next.is_ascii_whitespace());
        while parts && bytes[start - 1].is_ascii_whitespace() {
            start -= 1;
        }
        self.edits
            .push(Edit::new(start..end, Put::Fixed(String::new())));
    }

    /// Puts a URL in place of an attribute's value, in quotes.
    fn put(&mut self, value: &Range<usize>, url: Put) {
        let is_quoted = self.is_quoted(value);
        let quote = |at: usize| Edit::new(at..at, Put::Fixed("\"".to_owned()));
        // The first of them is the one that is counted, so the others follow it.
        self.edits.push(Edit::new(value.clone(), url));
        if !is_quoted {
            self.edits.push(quote(value.start));
            self.edits.push(quote(value.end));
        }
    }

    fn is_quoted(&self, value: &Range<usize>) -> bool {
        matches!(self.source.as_bytes()[value.start - 1], b'"' | b'\'')
    }

    fn fill_attribute(&mut self, name: &str, value: Range<usize>) {
        let text = &self.source[value.clone()];
        let found = placeholders(text);
        let is_filled = found
            .iter()
            .any(|found| !matches!(found.what, What::Foreign(_)));
        if name == "style"
            || name.starts_with("on")
            || !self.is_quoted(&value) && text.contains('"')
        {
            if is_filled {
                let why = "fields in style, in scripts and in broken attributes are not filled in";
                self.warnings.at(value.start, "not_filled", why);
            }
            return;
        }
        if is_filled && !self.is_quoted(&value) {
            let quote = |at: usize| Edit::new(at..at, Put::Fixed("\"".to_owned()));
            self.edits.push(quote(value.start));
            self.edits.push(quote(value.end));
        }
        let is_url = URLS.contains(&name);
        self.fill(value, |before| {
            Some(match is_url {
                true => place_in_url(&htmlize::unescape_attribute(before)),
                false => Place::Html,
            })
        });
    }

    /// Fills in the fields of a range, each for the place that what comes before it makes.
    fn fill(&mut self, range: Range<usize>, place: impl Fn(&str) -> Option<Place>) {
        let text = &self.source[range.clone()];
        for found in placeholders(text) {
            let at = range.start + found.range.start..range.start + found.range.end;
            let put = match found.what {
                What::Unsubscribe => {
                    self.has_way_out = true;
                    Put::Unsubscribe
                }
                What::Field(name) => match place(&text[..found.range.start]) {
                    Some(place) => Put::Field {
                        name: name.to_owned(),
                        place,
                    },
                    None => {
                        self.warnings.at(
                            at.start,
                            "not_filled",
                            "a field behind < would become a tag and is not filled in: write &lt;",
                        );
                        continue;
                    }
                },
                What::Foreign(foreign) => {
                    self.warnings
                        .at(at.start, "placeholder", foreign_stays(foreign));
                    continue;
                }
            };
            self.edits.push(Edit::new(at, put));
        }
    }

    fn base_of(&mut self, tag: &Tag) -> Option<Url> {
        let value = tag.attribute("href")?.value.clone()?;
        let address = htmlize::unescape_attribute(&self.source[value]);
        let base = Url::parse(address.trim()).ok()?;
        matches!(base.scheme(), "http" | "https").then_some(base)
    }

    fn check_charset(&mut self, tag: &Tag) {
        let value = |name: &str| {
            let value = tag.attribute(name)?.value.clone()?;
            Some(self.source[value].to_ascii_lowercase())
        };
        let named = value("charset").or_else(|| {
            let content = value("content")?;
            let (_, charset) = content.split_once("charset=")?;
            Some(charset.trim().to_owned())
        });
        if let Some(charset) = named.filter(|charset| charset != "utf-8" && charset != "utf8") {
            let why = format!(
                "the HTML says that it is {}, but what comes through JSON is UTF-8: say utf-8",
                quote(&charset)
            );
            self.warnings.at(tag.start, "charset", why);
        }
    }

    /// Without a body's end the pixel goes where the source is whole.
    fn finish(mut self, whole: usize, compiled: &mut Compiled) -> Links {
        self.close();
        if let Some(at) = self.source.find('\u{fffd}') {
            self.warnings.at(
                at,
                "encoding",
                "there is a replacement character: the HTML was read in the wrong encoding once",
            );
        }
        if !self.has_way_out {
            self.warnings.whole(
                "no_unsubscribe",
                "the HTML has no way to unsubscribe: add a link to {{unsubscribe_url}}, or one \
                with data-sillage-kind=\"optout\"",
            );
        }
        let of = pair(&self.places);
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let mut kinds = HashMap::new();
        for (index, visible) in of.iter().enumerate() {
            let first = &self.places[*visible];
            let number = *numbers.entry(*visible).or_insert_with(|| {
                kinds.entry(first.target.clone()).or_insert(first.kind);
                compiled.links.push(FoundLink {
                    url: first.target.url.clone(),
                    label: Some(first.label.clone()).filter(|label| !label.is_empty()),
                    kind: first.kind,
                    part: Part::Html,
                });
                compiled.links.len() - 1
            });
            if let Some(Edit {
                put: Put::Link { link, .. },
                ..
            }) = self.edits.get_mut(self.places[index].edit)
            {
                *link = number;
            }
        }
        let end = self.body_end.or(self.html_end);
        let end = end.unwrap_or(whole);
        self.edits.push(Edit::new(end..end, Put::Pixel));
        // What is put before a range comes before what the range becomes.
        self.edits.sort_by_key(|edit| (edit.start, edit.end));
        compiled.html = self.edits;
        compiled.warnings.extend(self.warnings.finish());
        Links {
            kinds,
            off: self.off,
        }
    }
}

/// What the author is told of another program's placeholder.
pub(super) fn foreign_stays(placeholder: &str) -> String {
    format!(
        "{} is not a field: it stays as it is, for another program to fill in",
        quote(placeholder)
    )
}

/// Whether a text would be taken for an address by a mail program.
fn looks_like_url(text: &str) -> bool {
    if text.contains(char::is_whitespace) {
        return false;
    }
    let has_scheme = ["http://", "https://", "www."].iter().any(|start| {
        text.get(..start.len())
            .is_some_and(|had| had.eq_ignore_ascii_case(start))
    });
    let host = text.split(['/', '?', '#']).next().unwrap_or_default();
    let is_host = host.rsplit_once('.').is_some_and(|(name, top)| {
        !name.is_empty()
            && (2..=20).contains(&top.len())
            && top.bytes().all(|b| b.is_ascii_lowercase())
            && host
                .chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '.')
    });
    has_scheme || is_host
}
