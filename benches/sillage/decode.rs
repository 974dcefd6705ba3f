//! What decoding costs of a request's time, and of the allocator's.
//!
//! Allocations are counted in the same process and with the same allocator as the server's: the
//! benchmark's own `#[global_allocator]` wraps it (the crate forbids `unsafe`, so the wrapper is
//! somebody else's). It counts in the thread, which costs about a nanosecond each.

use std::hint::black_box;
use std::time::Instant;

use alloc_tracker::Session;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use sillage::door::verdict::{Elapsed, Facts, Lists, Surface, explain};

use super::decoders::{Decoder, Decoding, Request};
use super::mailing::Mailing;
use super::scoreboard::{Bar, Scoreboard, median};
use super::traffic::BROWSER;

const SECTION: &str = "decode";
/// Typical requests take less, in nanoseconds.
const MOST_TYPICAL: f64 = 5_000.0;
/// The longest requests take less, in microseconds.
const MOST_LONG: f64 = 1_000.0;
/// The verdict alone takes less of a request, in nanoseconds.
const MOST_VERDICT: f64 = 1_000.0;
const CRAWLER: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
/// The longest request.
const LONG: usize = 32 << 10;

const PIXEL: &str = "page_title=Spring+offers&page_language=en-GB&page_referrer=https%3A%2F%2Fshop.example%2F\
    &page_url=https%3A%2F%2Fshop.example%2Farticle%2F7%3Futm_source%3Dnewsletter&counter=1&timezone_offset=-60&platform=Win32\
    &revenue=19.90&currency=EUR&order_id=B-1000001&tags=ProductA,-ProductB";
/// As the browser's pixel sends it with a page.
const WT: &str = "p=600,de.schuhe%2C%20rot,1,1024x768,24,1,1795280211137,https%3A%2F%2Fwww.google.de%2Fsearch%3Fq%3Da%2Cb,1000x700,0\
    &pf=48&cs802=2048&eid=2179528021194246163&cg1=schuhe&cp1=x%3By&pu=https%3A%2F%2Fshop.example%2Fde%2Fschuhe%3Fwt_mc%3Dnews.1%26q%3Da&la=en";
/// The same with an order of two products.
const WT_ORDER: &str = "p=600,checkout%2C%20success%20%26%20%C3%BC,1,1024x768,24,1,1795280211137,https%3A%2F%2Fwww.google.de%2Fsearch%3Fq%3Da%2Cb,1000x700,0\
    &pf=48&cs802=2048&fns=1&eid=2179528021194246163&one=1&ba=p1%3Bp2&co=59.99%3B49.99&qn=1%3B5&st=conf&ca1=shoe%3B&is=rote%20schuhe&cg1=checkout\
    &ov=360.93&oi=O-4711&cr=EUR&cd=24&cs800=in&pu=https%3A%2F%2Fshop.example%2Fde%2Fschuhe%3Fwt_mc%3Dnews.1%26q%3Da&la=en";
const ADOBE: &str = "id=h617791,71ffa3,71ffa8&p1=CustomerName&p2=Spring&utm_source=letter";
const TAG: &str = "tagid=basket%7Ct%7CShop&jobid=71ffa3&amount=49.90&article=2&color=red";

/// Runs the section.
pub fn measure(board: &mut Scoreboard) -> anyhow::Result<()> {
    board.open("decoding, median of 200 rounds");
    let mailing = Mailing::of(1_000)?;
    let token = mailing.token(1, Some(0)).encode(&mailing.keys);
    let decoding = Decoding::new(mailing.keys.clone())?;
    let get = |path: &str, query: &str| Request {
        path: path.to_owned(),
        query: query.to_owned(),
        ..Request::default()
    };
    let typical = [
        ("a pixel", Decoder::Pixel, get("/mtracking.gif", PIXEL)),
        (
            "a pixel with Mautic's d",
            Decoder::Pixel,
            get("/mtracking.gif", &format!("d={}", typical_d())),
        ),
        (
            "a link, our token",
            Decoder::Token,
            get(&format!("/r/{token}"), "utm_source=letter"),
        ),
        ("a link, Adobe's id", Decoder::AdobeLink, get("/r/", ADOBE)),
        ("Adobe's page tag", Decoder::AdobeTag, get("/r/a", TAG)),
        (
            "a wt request",
            Decoder::Mapp,
            get("/111111111111111/wt", WT),
        ),
        (
            "a wt request, order of two products",
            Decoder::Mapp,
            get("/111111111111111/wt", WT_ORDER),
        ),
    ];
    for (name, decoder, request) in typical {
        let headers = browser_headers();
        let mut run = || {
            black_box(decoding.run_with(decoder, black_box(&request), &headers));
        };
        let time = nanoseconds(1_000, &mut run);
        // Most hits are pages; what an order costs is told beside them.
        let bar = match request.query.as_str() {
            WT_ORDER => Bar::None,
            _ => Bar::Below(MOST_TYPICAL),
        };
        board.add(SECTION, name, time, "ns", bar);
        let count = allocations(&mut run);
        board.add(
            SECTION,
            format!("{name}, allocations"),
            count,
            "",
            Bar::None,
        );
    }
    measure_verdicts(board);
    for (name, decoder, request) in long_requests() {
        let time = nanoseconds(5, || {
            black_box(decoding.run(decoder, black_box(&request)));
        });
        let name = format!("{name}, {} KiB", request.len() >> 10);
        board.add(
            SECTION,
            name,
            time / 1_000.0,
            "\u{b5}s",
            Bar::Below(MOST_LONG),
        );
    }
    Ok(())
}

/// What the verdict alone takes of them: rules, words and networks.
fn measure_verdicts(board: &mut Scoreboard) {
    let lists = Lists::built_in();
    let headers = browser_headers();
    let long = BROWSER.repeat(1_000 / BROWSER.len());
    for (name, surface, agent) in [
        ("a link", Surface::Link, BROWSER),
        ("a pixel in a mail", Surface::Open, BROWSER),
        ("a page", Surface::Page, BROWSER),
        ("a crawler", Surface::Link, CRAWLER),
        ("an agent of 1,000 bytes", Surface::Link, &long),
    ] {
        for address in ["203.0.113.9", "2001:db8::9"] {
            let facts = Facts {
                headers: Some(&headers),
                agent: Some(agent),
                address: address.parse().ok(),
                elapsed: Some(Elapsed::seconds(300)),
                ..Facts::none(surface)
            };
            let time = nanoseconds(1_000, || {
                black_box(explain(black_box(&facts), &lists));
            });
            let bar = match agent.len() {
                0..300 => Bar::Below(MOST_VERDICT),
                _ => Bar::None,
            };
            let family = if address.contains(':') {
                "IPv6"
            } else {
                "IPv4"
            };
            board.add(
                SECTION,
                format!("the verdict on {name}, {family}"),
                time,
                "ns",
                bar,
            );
        }
    }
}

/// What a person's browser sends with everything.
fn browser_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "t.example.com"),
        ("user-agent", BROWSER),
        ("accept", "image/avif,image/webp,image/png,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("referer", "https://shop.example/article/7"),
        ("sec-fetch-dest", "image"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn php_text(text: &str) -> String {
    format!("s:{}:\"{text}\";", text.len())
}

/// As the plugins of WordPress and Drupal make it.
fn typical_d() -> String {
    let pairs = [
        ("page_url", "https://shop.example/article/7"),
        ("page_title", "Spring offers"),
        ("language", "en"),
        ("referrer", "https://shop.example/"),
    ];
    let inner: String = pairs
        .iter()
        .flat_map(|(name, value)| [php_text(name), php_text(value)])
        .collect();
    encode_d(&format!("a:{}:{{{inner}}}", pairs.len()))
}

fn encode_d(serialised: &str) -> String {
    form_urlencoded::byte_serialize(STANDARD.encode(serialised).as_bytes()).collect()
}

/// The worst that fits into 32 KiB: many small parts cost more than one large.
fn long_requests() -> Vec<(&'static str, Decoder, Request)> {
    let many = |start: &str, part: &dyn Fn(usize) -> String| {
        let mut text = start.to_owned();
        for number in 0.. {
            let part = part(number);
            if text.len() + part.len() > LONG {
                break;
            }
            text += &part;
        }
        text
    };
    let get = |path: &str, query: String| Request {
        path: path.to_owned(),
        query,
        ..Request::default()
    };
    let post = |content_type: &str, body: String| Request {
        path: "/form/submit".to_owned(),
        query: "formId=3".to_owned(),
        content_type: content_type.to_owned(),
        body: body.into_bytes(),
        ..Request::default()
    };
    let small = |number: usize| format!("&x{number}=%C3%BC");
    // Base64 and its escapes take a third more.
    let entries = many("", &|number| format!("i:{number};s:1:\"x\";"));
    let entries: Vec<&str> = entries.split_inclusive("\";").take(1_000).collect();
    let serialised = format!("a:{}:{{{}}}", entries.len(), entries.concat());
    vec![
        (
            "a pixel",
            Decoder::Pixel,
            get("/mtracking.gif", many(PIXEL, &small)),
        ),
        (
            "a pixel of tags",
            Decoder::Pixel,
            get(
                "/mtracking.gif",
                many("tags=a", &|number| format!(",t{number}")),
            ),
        ),
        (
            "a pixel's d",
            Decoder::Pixel,
            get("/mtracking.gif", format!("d={}", encode_d(&serialised))),
        ),
        (
            "PHP's arrays",
            Decoder::Php,
            post(
                "",
                format!("{}{}", "a:1:{i:0;".repeat(LONG / 10), "}".repeat(LONG / 10)),
            ),
        ),
        ("PHP's values", Decoder::Php, post("", serialised)),
        (
            "Adobe's link",
            Decoder::AdobeLink,
            get("/r/", many(ADOBE, &|number| format!("&p{number}=%3Cx%3E"))),
        ),
        (
            "Adobe's page tag",
            Decoder::AdobeTag,
            get("/r/a", many(TAG, &small)),
        ),
        (
            "a wt request",
            Decoder::Mapp,
            get(
                "/111111111111111/wt",
                many(WT, &|number| format!("&cp{number}=%C3%BC")),
            ),
        ),
        (
            "a wt request of products",
            Decoder::Mapp,
            get(
                "/111111111111111/wt",
                format!("p=600,a&ba={0}&co={0}&qn={0}", "1%3B".repeat(LONG / 12)),
            ),
        ),
        (
            "a wt request of lists of products",
            Decoder::Mapp,
            get(
                "/111111111111111/wt",
                many("p=600,a", &|number| {
                    format!("&ca{number}={}", "1;".repeat(199))
                }),
            ),
        ),
        (
            "a wt request for ten track ids",
            Decoder::Mapp,
            get(
                "/111111111111111,1,2,3,4,5,6,7,8,9/wt",
                many(WT, &|number| format!("&cp{number}=%C3%BC")),
            ),
        ),
        (
            "a batch",
            Decoder::MappBatch,
            post("text/plain", many("", &|_| format!("wt?{WT}\n"))),
        ),
        (
            "a batch of too many lines, as PHP ends them",
            Decoder::MappBatch,
            post("text/plain", many("", &|_| "?\\n".to_owned())),
        ),
        (
            "a batch of empty lines",
            Decoder::MappBatch,
            post("text/plain", "\n".repeat(LONG)),
        ),
        (
            "a form",
            Decoder::Form,
            post(
                "application/x-www-form-urlencoded",
                many("mauticform%5Bemail%5D=ada%40example.com", &|number| {
                    format!("&mauticform%5Bf{number}%5D=x")
                }),
            ),
        ),
        (
            "a multipart form",
            Decoder::Form,
            post(
                "multipart/form-data; boundary=B",
                many("", &|number| {
                    format!(
                        "--B\r\nContent-Disposition: form-data; \
                        name=\"mauticform[f{number}]\"\r\n\r\nx\r\n"
                    )
                }) + "--B--\r\n",
            ),
        ),
    ]
}

fn nanoseconds(times: u32, mut run: impl FnMut()) -> f64 {
    let rounds: Vec<f64> = (0..200)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..times {
                run();
            }
            started.elapsed().as_nanos() as f64 / f64::from(times)
        })
        .collect();
    median(&rounds)
}

/// Allocations of one run.
fn allocations(mut run: impl FnMut()) -> f64 {
    const TIMES: u64 = 100;
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation(SECTION);
    {
        let _span = operation.measure_thread().iterations(TIMES).no_peak();
        for _ in 0..TIMES {
            run();
        }
    }
    let report = session.to_report();
    let (_, counted) = report.operations().next().unzip();
    counted
        .and_then(|counted| counted.allocations())
        .unwrap_or_default()
}
