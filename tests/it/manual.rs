//! The manual below `/docs`, over a real socket, and the files that it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use http::Method;

use crate::harness::{Answer, Client, Engine, TestServer};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(place: &str) -> String {
    std::fs::read_to_string(root().join(place)).unwrap_or_else(|error| panic!("{place}: {error}"))
}

/// Markdown files of a directory, by their place in the repository.
fn pages_of(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| name.ends_with(".md"));
    pages.map(|name| format!("{dir}/{name}")).collect()
}

/// Values of an attribute in a page of ours, which writes them all between quotes.
fn attributes<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    let start = format!(" {name}=\"");
    let parts = page.split(start.as_str()).skip(1);
    parts.map(|part| part.split('"').next().unwrap()).collect()
}

/// What every answer of the manual carries.
fn check_headers(path: &str, answer: &Answer) {
    let policy = answer.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "style-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(
        !policy.contains("script-src") && !policy.contains("unsafe"),
        "{path}: {policy}"
    );
    for (name, value) in [
        ("x-robots-tag", "noindex"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(answer.header(name), value, "{path}: {name}");
    }
    assert_eq!(answer.set_cookies(), [""; 0], "{path}");
}

/// A page with a page's head, without anything that runs.
fn check_page(path: &str, page: &str) {
    assert!(
        page.starts_with("<!doctype html>\n<html lang=\"en\">"),
        "{path}"
    );
    assert!(page.contains("width=device-width"), "{path}");
    assert_eq!(page.matches("<h1").count(), 1, "{path}");
    let known = [
        "a", "body", "code", "div", "em", "h1", "h2", "h3", "head", "header", "html", "li", "link",
        "main", "meta", "nav", "ol", "p", "pre", "strong", "table", "tbody", "td", "th", "thead",
        "title", "tr", "ul", "!doctype",
    ];
    for part in page.split('<').skip(1) {
        let tag = part
            .split(['>', ' ', '\n'])
            .next()
            .unwrap()
            .trim_start_matches('/');
        assert!(known.contains(&tag), "{path}: <{tag}>");
    }
    let ids = attributes(page, "id");
    let different: BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(ids.len(), different.len(), "{path}: {ids:?}");
}

/// Follows every link from `/docs/` on; returns all documents by their path.
async fn walk(client: &mut Client) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut ahead = vec!["/docs/".to_owned()];
    while let Some(path) = ahead.pop() {
        if found.contains_key(&path) {
            continue;
        }
        let answer = client.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        check_headers(&path, &answer);
        let text = answer.text();
        if answer.header("content-type") == "text/html; charset=utf-8" {
            check_page(&path, &text);
            for href in attributes(&text, "href") {
                let href = href.split('#').next().unwrap();
                if href.is_empty() || href.contains("://") {
                    continue;
                }
                assert!(
                    !href.starts_with('/') && !href.contains(".."),
                    "{path}: {href}"
                );
                ahead.push(format!("/docs/{}", href.trim_start_matches("./")));
            }
        }
        found.insert(path, text);
    }
    found
}

#[tokio::test]
async fn every_page_is_served_and_every_link_in_it_leads_somewhere() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mut client = server.client();
    let found = walk(&mut client).await;
    // Every file is a page that can be reached.
    for place in pages_of("static/docs") {
        let name = place
            .trim_start_matches("static/docs/")
            .trim_end_matches(".md");
        let name = if name == "README" { "" } else { name };
        let page = &found[&format!("/docs/{name}")];
        let title = read(&place).lines().next().unwrap().replacen("# ", "", 1);
        assert!(page.contains(&format!("<title>{title}</title>")), "{place}");
    }
    // Anchors too.
    for (path, page) in &found {
        for (name, anchor) in attributes(page, "href")
            .iter()
            .filter_map(|href| href.split_once('#'))
        {
            if name.contains("://") {
                continue;
            }
            let to = match name {
                "" => path.clone(),
                name => format!("/docs/{}", name.trim_start_matches("./")),
            };
            assert!(
                attributes(&found[&to], "id").contains(&anchor),
                "{path}: {name}#{anchor}"
            );
        }
    }
    // What a link names is what is served.
    assert_eq!(
        found["/docs/config.example.toml"],
        read("config.example.toml")
    );
    assert_eq!(
        found["/docs/relay/relay.php"],
        read("static/relay/relay.php")
    );
    // HTML of the pages' examples is text.
    assert!(found["/docs/website"].contains("&lt;script&gt;"));
    server.finish().await;
}

#[tokio::test]
async fn pages_are_asked_for_again_and_sent_once() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mut client = server.client();
    let page = client.get("/docs/operating").await;
    let etag = page.header("etag").to_owned();
    let known = [("if-none-match", etag.as_str())];
    let again = client
        .request(Method::GET, "/docs/operating", &known, "".into())
        .await
        .unwrap();
    assert_eq!((again.status, again.text()), (304, String::new()));
    check_headers("/docs/operating", &again);
    let other = client
        .request(Method::GET, "/docs/mail", &known, "".into())
        .await
        .unwrap();
    assert_eq!(other.status, 200);
    let head = client
        .request(Method::HEAD, "/docs/operating", &[], "".into())
        .await
        .unwrap();
    assert_eq!((head.status, head.text()), (200, String::new()));
    assert_eq!(head.header("etag"), etag);
    check_headers("/docs/operating", &head);
    server.finish().await;
}

#[tokio::test]
async fn what_is_no_page_answers_the_small_page() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mut client = server.client();
    let start = client.get("/docs").await;
    assert_eq!((start.status, start.header("location")), (308, "/docs/"));
    for path in [
        "/docs/nothing",
        "/docs/mail.md",
        "/docs/mail/",
        "/docs/../Cargo.toml",
        "/docs/%2e%2e/Cargo.toml",
        "/docs/relay/../../../etc/passwd",
        "/docs//",
        "/docsx",
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("There is nothing here"), "{path}");
        assert_eq!(answer.header("x-robots-tag"), "noindex", "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = client
            .request(method.clone(), "/docs/mail", &[], "".into())
            .await
            .unwrap();
        assert_eq!(answer.status, 405, "{method}");
    }
    server.finish().await;
}

/// Links of a Markdown file: what stands between `](` and `)`.
fn links(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    let parts = outside.flat_map(|text| text.split("](").skip(1));
    parts.map(|part| part.split(')').next().unwrap()).collect()
}

/// Headings as a code host makes anchors of them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let words = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    words
        .map(|words| {
            words
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_between_files_lead_to_files() {
    let mut files: Vec<String> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
        .map(str::to_owned)
        .into();
    files.extend(pages_of("static/docs"));
    for dialect in ["native", "adobe", "mapp", "mautic"] {
        files.extend(pages_of(&format!("tests/cases/{dialect}")));
    }
    let mut count = 0;
    for file in &files {
        let text = read(file);
        for link in links(&text)
            .into_iter()
            .filter(|link| !link.contains("://"))
        {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let mut to = PathBuf::from(file);
            if !path.is_empty() {
                to.pop();
                to.push(path);
            }
            assert!(root().join(&to).exists(), "{file}: {link}");
            if !anchor.is_empty() {
                let there = anchors(&read(to.to_str().unwrap()));
                assert!(there.iter().any(|name| name == anchor), "{file}: {link}");
            }
            count += 1;
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
fn readme_is_short_and_names_every_page() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 150, "{}", readme.lines().count());
    let index = read("static/docs/README.md");
    for place in pages_of("static/docs") {
        let name = place.trim_start_matches("static/docs/");
        if name != "README.md" {
            assert!(
                readme.contains(&format!("]({place})")),
                "README.md: {place}"
            );
            assert!(
                index.contains(&format!("]({name})")),
                "static/docs/README.md: {place}"
            );
        }
    }
}

/// Names that begin with `sillage_` and follow `before`.
fn metrics<'t>(text: &'t str, before: &str) -> BTreeSet<&'t str> {
    let start = format!("{before}sillage_");
    let places = text.match_indices(start.as_str());
    let names = places.map(|(at, _)| {
        let name = &text[at + before.len()..];
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        &name[..end.unwrap_or(name.len())]
    });
    names.filter(|name| *name != "sillage_").collect()
}

#[test]
fn the_manual_explains_every_metric_and_no_other() {
    let mut dirs = vec![root().join("src")];
    let mut code = String::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                code += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let page = read("static/docs/operating.md");
    let there = metrics(&code, "\"");
    assert!(there.len() > 25, "{there:?}");
    assert_eq!(metrics(&page, "`"), there);
}

/// Rows of tables, and addresses, cannot be wrapped; nor can a line of NDJSON.
#[test]
fn prose_ends_at_column_100() {
    let mut files: Vec<String> = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "config.example.toml",
        "Dockerfile",
    ]
    .map(str::to_owned)
    .into();
    files.extend(pages_of("static/docs"));
    for file in &files {
        for (index, line) in read(file).lines().enumerate() {
            let is_whole = line.starts_with(['|', '{']) || line.contains("://");
            assert!(
                is_whole || line.chars().count() <= 100,
                "{file}:{} has {} columns",
                index + 1,
                line.chars().count()
            );
        }
    }
}
