//! What decoding costs of a request's time: no bar, a look at whether it has grown.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method};
use sillage::clock::Clock;
use sillage::dialect::{Reply, Rules, native};
use sillage::inbound::Inbound;
use sillage::link::LinkToken;

use super::mailing::Mailing;
use super::scoreboard::{Bar, Scoreboard, median};
use super::traffic::BROWSER;

const SECTION: &str = "decode";
const QUERY: &str = "page_title=Spring+offers&page_language=en-GB&page_referrer=https%3A%2F%2Fshop.example%2F\
    &page_url=https%3A%2F%2Fshop.example%2Farticle%2F7%3Futm_source%3Dnewsletter&counter=1&timezone_offset=-60&platform=Win32\
    &revenue=19.90&currency=EUR&order_id=B-1000001&tags=ProductA,-ProductB";

/// Runs the section.
pub fn measure(board: &mut Scoreboard) -> anyhow::Result<()> {
    board.open("decoding, median of 200 rounds");
    let mailing = Mailing::of(1_000)?;
    let token = mailing.token(1, Some(0)).encode(&mailing.keys);
    let rules = Rules::new(mailing.keys.clone());
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(BROWSER));
    let inbound = Inbound {
        method: &Method::GET,
        path: "/mtracking.gif",
        query: QUERY,
        headers: &headers,
        body: &[],
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_trusted_sender: false,
        received_at: Clock::system().now(),
    };
    let verify = nanoseconds(|| {
        black_box(LinkToken::decode(black_box(&token), &mailing.keys));
    });
    let collect = nanoseconds(|| {
        black_box(native::collect(black_box(&inbound), &rules, Reply::Gif));
    });
    board.add(SECTION, "a link's token", verify, "ns", Bar::None);
    board.add(SECTION, "a pixel's parameters", collect, "ns", Bar::None);
    Ok(())
}

fn nanoseconds(mut run: impl FnMut()) -> f64 {
    const TIMES: u32 = 1_000;
    let rounds: Vec<f64> = (0..200)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..TIMES {
                run();
            }
            started.elapsed().as_nanos() as f64 / f64::from(TIMES)
        })
        .collect();
    median(&rounds)
}
