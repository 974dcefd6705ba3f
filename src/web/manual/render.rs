//! Markdown to HTML.

use std::fmt::Write as _;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::pages::{FILES, PAGES, Page};

/// A whole page, with links to the previous and the next one.
pub(super) fn page(page: &Page, around: [Option<&Page>; 2]) -> String {
    let title = page.title();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n\
         <header><a href=\"./\">Sillage manual</a></header>\n<main>\n"
    );
    let more = page.more.map_or_else(String::new, |more| more());
    let text = format!("{}{more}", page.text);
    html::push_html(&mut out, body(page.place, &text).into_iter());
    out.push_str("</main>\n<nav>");
    for (neighbour, side) in around.into_iter().zip(["previous", "next"]) {
        if let Some(neighbour) = neighbour {
            let href = href_of(neighbour.name);
            let title = neighbour.title();
            let _ = write!(out, "<a class=\"{side}\" href=\"{href}\">{title}</a>");
        }
    }
    out.push_str("</nav>\n</body>\n</html>\n");
    out
}

/// The page's contents. HTML in it is shown as text.
fn body<'a>(place: &str, text: &'a str) -> Vec<Event<'a>> {
    let mut events: Vec<Event<'a>> = Vec::new();
    // Where the heading begins that is being read, and its words so far.
    let mut heading: Option<(usize, String)> = None;
    // Whether the links that are open lead somewhere.
    let mut links: Vec<bool> = Vec::new();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        let event = match event {
            Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }) => {
                let href = href(place, &dest_url);
                links.push(href.is_some());
                let Some(href) = href else { continue };
                Event::Start(Tag::Link {
                    link_type,
                    dest_url: href.into(),
                    title,
                    id,
                })
            }
            Event::End(TagEnd::Link) if links.pop() == Some(false) => continue,
            // Pages show no pictures.
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => continue,
            // A wide table scrolls by itself; the page does not.
            Event::Start(Tag::Table(_)) => {
                events.push(Event::Html("<div class=\"table\">".into()));
                event
            }
            Event::End(TagEnd::Table) => {
                events.push(event);
                Event::Html("</div>\n".into())
            }
            event => event,
        };
        match (&event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => {
                heading = Some((events.len(), String::new()));
            }
            (Event::Text(words) | Event::Code(words), Some((_, so_far))) => so_far.push_str(words),
            (Event::End(TagEnd::Heading(_)), Some((at, words))) => {
                if let Some(Event::Start(Tag::Heading { id, .. })) = events.get_mut(*at) {
                    *id = Some(anchor(words).into());
                }
                heading = None;
            }
            _ => {}
        }
        events.push(event);
    }
    events
}

/// A heading's anchor, as code hosts make it.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
        })
        .collect()
}

/// Where a link in the file at `place` leads here; `None` if it leads to a file that is not served.
fn href(place: &str, to: &str) -> Option<String> {
    if to.starts_with('#') || to.starts_with("https://") || to.starts_with("http://") {
        return Some(to.to_owned());
    }
    let (path, anchor) = to.split_at(to.find('#').unwrap_or(to.len()));
    let mut parts: Vec<&str> = place.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    let to = parts.join("/");
    let page = PAGES.iter().find(|page| page.place == to);
    let file = FILES.iter().find(|(place, ..)| *place == to);
    let name = page
        .map(|page| page.name)
        .or(file.map(|(_, name, _)| *name))?;
    Some(format!("{}{anchor}", href_of(name)))
}

fn href_of(name: &'static str) -> CowStr<'static> {
    if name.is_empty() { "./" } else { name }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        let mut out = String::new();
        html::push_html(&mut out, body("static/docs/mail.md", text).into_iter());
        out
    }

    #[test]
    fn html_in_a_page_is_text() {
        for text in [
            "<script>alert(1)</script>\n",
            "a <b onclick=x>b</b> &lt;i&gt;\n",
            "<!-- a -->\n",
        ] {
            let html = html(text);
            let tags = html.matches('<').count();
            let paragraph = html.matches("<p>").count() + html.matches("</p>").count();
            assert_eq!(tags, paragraph, "{html}");
            assert!(html.contains("&lt;"), "{html}");
        }
        assert_eq!(html("![a](https://a.example/a.gif)"), "<p>a</p>\n");
    }

    #[test]
    fn links_between_files_lead_to_pages_and_files() {
        for (link, href) in [
            ("website.md", "website"),
            (
                "website.md#what-pages-get-wrong",
                "website#what-pages-get-wrong",
            ),
            ("README.md", "./"),
            ("../../README.md", "start"),
            ("../relay/relay.php", "relay/relay.php"),
            ("../../config.example.toml", "config.example.toml"),
            ("#after-the-click", "#after-the-click"),
            ("https://a.example/b.md", "https://a.example/b.md"),
        ] {
            let expected = format!("<p><a href=\"{href}\">a</a></p>\n");
            assert_eq!(html(&format!("[a]({link})")), expected, "{link}");
        }
        assert_eq!(html("[a](../../Cargo.toml) b"), "<p>a b</p>\n");
        // Nothing that runs.
        assert_eq!(html("[a](javascript:alert(1))"), "<p>a</p>\n");
    }

    #[test]
    fn headings_can_be_linked_to_as_on_a_code_host() {
        assert_eq!(
            html("## What's `a_b`, *c*-d?"),
            "<h2 id=\"whats-a_b-c-d\">What's <code>a_b</code>, <em>c</em>-d?</h2>\n"
        );
    }
}
