//! Reads HTML as browsers do, by lol_html, and tells where each tag and text is.
//!
//! Two things that a browser skips are read as well, because mail programs show them: conditional
//! comments, which Outlook reads as HTML, and `noscript`, whose content every mail program shows.
//!
//! **How it fails.** Nesting is limited by memory, since every open element costs some, and an end
//! tag that fits none is looked for in all of them.

use std::cell::RefCell;
use std::ops::Range;

use lol_html::html_content::{Comment, Element, TextChunk, TextType};
use lol_html::{HtmlRewriter, MemorySettings, Settings, doc_comments, doc_text, element};

/// Enough for some thousand open elements.
const MOST_MEMORY: usize = 2 << 20;
/// Conditional comments in `noscript`, and that in such a comment.
const MOST_DEPTH: usize = 4;

/// A start tag.
#[derive(Debug)]
pub(super) struct Tag {
    /// Its name in lower case.
    pub name: String,
    /// Its first byte in the source.
    pub start: usize,
    /// Attributes as they are written, doubles included.
    pub attributes: Vec<Attribute>,
}

impl Tag {
    /// The first attribute of a name: the one that counts.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|had| had.name == name)
    }
}

/// An attribute of a tag.
#[derive(Debug)]
pub(super) struct Attribute {
    /// Its name in lower case.
    pub name: String,
    /// Where the name is.
    pub name_at: Range<usize>,
    /// Where the value is, without quotes; `None` if there is none.
    pub value: Option<Range<usize>>,
}

/// Something in the source.
#[derive(Debug)]
pub(super) enum Token<'s> {
    /// A start tag.
    Start(Tag),
    /// An end tag: its name as written, and its first byte.
    End(&'s str, usize),
    /// Text that may have entities.
    Text(Range<usize>),
    /// Styles and scripts.
    Raw(Range<usize>),
}

/// It nests too deep, or ends in a long tag or comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nests its elements too deep")]
pub(super) struct TooDeep;

/// Tells what is in a source, in order, and whether only Outlook shows it. Returns up to which byte
/// it is whole: behind that is a tag or comment that is cut off, and would swallow what is put
/// there.
pub(super) fn walk<'s>(
    source: &'s str,
    mut see: impl FnMut(Token<'s>, bool),
) -> Result<usize, TooDeep> {
    let fragment = Fragment {
        source,
        is_hidden: false,
        depth: 0,
        see: &RefCell::new(&mut see),
    };
    fragment.walk(0..source.len())
}

/// Who is told.
type See<'s, 'f> = RefCell<&'f mut dyn FnMut(Token<'s>, bool)>;

/// HTML on its own: a mail, or what is in one of its comments.
#[derive(Clone, Copy)]
struct Fragment<'s, 'f> {
    source: &'s str,
    is_hidden: bool,
    depth: usize,
    see: &'f See<'s, 'f>,
}

/// How far a fragment has been told.
struct Told {
    /// Everything before this byte.
    to: usize,
    /// Text before it that may go on.
    text: Option<(Range<usize>, TextType)>,
    is_noscript: bool,
}

impl<'s> Fragment<'s, '_> {
    fn walk(self, range: Range<usize>) -> Result<usize, TooDeep> {
        let offset = range.start;
        let told = RefCell::new(Told {
            to: offset,
            text: None,
            is_noscript: false,
        });
        let on_tag = |element: &mut Element<'_, '_>| {
            let at = moved(element.source_location().bytes(), offset);
            self.tell_until(at.start, &told)?;
            let name = element.tag_name();
            let mut so_far = told.borrow_mut();
            so_far.to = at.end;
            so_far.is_noscript = name == "noscript";
            drop(so_far);
            let attributes = element.attributes().iter().filter_map(|attribute| {
                Some(Attribute {
                    name: attribute.name(),
                    name_at: moved(attribute.name_source_location()?.bytes(), offset),
                    value: attribute
                        .value_source_location()
                        .map(|value| moved(value.bytes(), offset)),
                })
            });
            let tag = Tag {
                name,
                start: at.start,
                attributes: attributes.collect(),
            };
            (self.see.borrow_mut())(Token::Start(tag), self.is_hidden);
            Ok(())
        };
        let on_text = |chunk: &mut TextChunk<'_>| {
            let at = moved(chunk.source_location().bytes(), offset);
            if at.is_empty() {
                return Ok(());
            }
            let kind = chunk.text_type();
            let goes_on =
                |text: &(Range<usize>, TextType)| text.0.end == at.start && text.1 == kind;
            if !told.borrow().text.as_ref().is_some_and(goes_on) {
                self.tell_until(at.start, &told)?;
            }
            let mut told = told.borrow_mut();
            told.to = at.end;
            match &mut told.text {
                Some((text, _)) => text.end = at.end,
                none => *none = Some((at, kind)),
            }
            Ok(())
        };
        let on_comment = |comment: &mut Comment<'_>| {
            let at = moved(comment.source_location().bytes(), offset);
            self.tell_until(at.start, &told)?;
            told.borrow_mut().to = at.end;
            match conditional(self.source, at) {
                Some(inner) if self.depth < MOST_DEPTH => {
                    let inside = Fragment {
                        is_hidden: true,
                        depth: self.depth + 1,
                        ..self
                    };
                    inside.walk(inner)?;
                }
                _ => {}
            }
            Ok(())
        };
        let memory = MemorySettings::new().with_max_allowed_memory_usage(MOST_MEMORY);
        let settings = Settings::new()
            .with_memory_settings(memory)
            // What no browser is sure of is read in the likeliest way: nothing is written by it.
            .with_strict(false)
            .append_element_content_handler(element!("*", on_tag))
            .append_document_content_handler(doc_text!(on_text))
            .append_document_content_handler(doc_comments!(on_comment));
        let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
        rewriter
            .write(&self.source.as_bytes()[range.clone()])
            .and_then(|()| rewriter.end())
            .map_err(|_| TooDeep)?;
        let to = told.borrow().to;
        self.tell_until(range.end, &told)?;
        Ok(to + whole(&self.source[to..range.end]))
    }

    /// Tells the text that is waiting, and the end tags before a byte: all else is told by name.
    fn tell_until(&self, start: usize, told: &RefCell<Told>) -> Result<(), TooDeep> {
        let mut so_far = told.borrow_mut();
        let text = so_far.text.take();
        let to = so_far.to;
        so_far.to = start.max(to);
        let is_noscript = so_far.is_noscript;
        drop(so_far);
        let see = |token| (self.see.borrow_mut())(token, self.is_hidden);
        match text {
            Some((text, TextType::Data | TextType::RCData)) => see(Token::Text(text)),
            Some((text, _)) if is_noscript && self.depth < MOST_DEPTH => {
                let inside = Fragment {
                    depth: self.depth + 1,
                    ..*self
                };
                inside.walk(text)?;
            }
            Some((text, _)) => see(Token::Raw(text)),
            None => {}
        }
        let gap = self.source.get(to..start).unwrap_or_default();
        for (at, _) in gap.match_indices("</") {
            let name = &gap[at + 2..];
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != ':');
            see(Token::End(&name[..end.unwrap_or(name.len())], to + at));
        }
        Ok(())
    }
}

/// How much of what is told by no name, end tags and doctypes, is whole.
fn whole(gap: &str) -> usize {
    let mut to = 0;
    loop {
        let rest = &gap[to..];
        let is_declaration = rest.starts_with("<!") && !rest.starts_with("<!--");
        match rest.find('>') {
            Some(end) if is_declaration || rest.starts_with("</") => to += end + 1,
            _ => return to,
        }
    }
}

fn moved(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// What Outlook reads in a comment such as `<!--[if mso]>…<![endif]-->`.
fn conditional(source: &str, comment: Range<usize>) -> Option<Range<usize>> {
    let inside = source[comment.clone()].strip_prefix("<!--")?;
    let condition = inside.trim_start();
    if !condition.get(..3)?.eq_ignore_ascii_case("[if") {
        return None;
    }
    let start = inside.find("]>")? + 2;
    let inner = &inside[start..];
    let end = inner.to_ascii_lowercase().rfind("<![endif]");
    let end = end.or_else(|| inner.rfind("--")).unwrap_or(inner.len());
    let start = comment.start + "<!--".len() + start;
    Some(start..start + end)
}
