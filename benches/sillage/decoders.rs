//! The vendors' decoders as the benchmark and the fuzzer call them: a request in, the number of its
//! hits out.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderMap, HeaderValue, Method};
use sillage::door::mapp::{self, Sender, batch};
use sillage::door::mautic::{self, Post};
use sillage::door::{
    Clock, Form, FormId, Hit, Inbound, Keys, LinkId, LinkRecord, LinkToken, Micros, Rules, Site,
    Utm, VisitorId, adobe, native,
};
use uuid::Uuid;

use super::traffic::BROWSER;

/// What reads a kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decoder {
    /// Our own signed links.
    Token,
    /// `/r/?id=…`
    AdobeLink,
    /// `/r/a?tagid=…`
    AdobeTag,
    /// `/<track id>/wt?…`
    Mapp,
    /// `/<track id>/batch`
    MappBatch,
    /// `/mtracking.gif?…`, with `d` and `ct`
    Pixel,
    /// What is in a `d` or `ct`
    Php,
    /// `/form/submit`
    Form,
}

/// A request of one of them.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub query: String,
    pub cookie: String,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Request {
    /// Bytes of all that is read.
    pub fn len(&self) -> usize {
        self.path.len() + self.query.len() + self.cookie.len() + self.body.len()
    }
}

/// What decoding needs besides the request.
pub struct Decoding {
    pub rules: Rules,
    link: LinkRecord,
    form: Form,
    now: Micros,
}

impl Decoding {
    /// With fields that the public may set, so that nothing is skipped.
    pub fn new(keys: Keys) -> anyhow::Result<Self> {
        let mut rules = Rules::new(keys);
        rules.public = ["email", "firstname", "city", "customer_id", "adblock"]
            .map(str::to_owned)
            .to_vec();
        rules.mapp.secrets = vec![("111111111111111".to_owned(), "0123456789abcdef".to_owned())];
        Ok(Self {
            rules,
            link: LinkRecord {
                id: LinkId(815),
                url: "https://shop.example/<%p1%>/landing?a=b#c".to_owned(),
                slug: None,
                delivery_id: None,
                category: None,
                expires_at: None,
                expiration_url: None,
                utm: Utm::default(),
            },
            form: serde_json::from_value(serde_json::json!({
                "name": "newsletter",
                "alias": "newsletter",
                "fields": [
                    { "alias": "email", "label": "", "type": "email", "required": true, "contact_field": "email" },
                    { "alias": "f_name", "label": "", "type": "text", "contact_field": "firstname" },
                    { "alias": "topics", "label": "", "type": "checkbox" },
                ],
            }))?,
            now: Clock::system().now(),
        })
    }

    /// Decodes; the hits that came of it.
    pub fn run(&self, decoder: Decoder, request: &Request) -> Vec<Hit> {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static(BROWSER));
        for (name, value) in [
            ("cookie", &request.cookie),
            ("content-type", &request.content_type),
        ] {
            if let (false, Ok(value)) = (value.is_empty(), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        self.run_with(decoder, request, &headers)
    }

    /// [`Self::run`] with a head that is there already, as it is in the server.
    pub fn run_with(&self, decoder: Decoder, request: &Request, headers: &HeaderMap) -> Vec<Hit> {
        let rules = &self.rules;
        let inbound = Inbound {
            site: Site::usual(),
            method: &Method::GET,
            target: &request.path,
            rest: "",
            query: &request.query,
            is_repaired: false,
            headers,
            body: &request.body,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_forwarded: false,
            is_trusted_sender: false,
            received_at: self.now,
            new_visitor: VisitorId(Uuid::nil()),
        };
        match decoder {
            Decoder::Token => {
                let token = LinkToken::decode(request.path.trim_start_matches("/r/"), &rules.keys);
                vec![native::click(&inbound, rules, &self.link, token.as_ref())]
            }
            Decoder::AdobeLink => match adobe::read(&inbound) {
                adobe::Request::Message(claim) => {
                    black_box(claim.link_ids().count());
                    vec![
                        adobe::click(&inbound, rules, &claim, &self.link),
                        adobe::message(&inbound, rules, &claim),
                    ]
                }
                _ => Vec::new(),
            },
            Decoder::AdobeTag => adobe::tag(&inbound, rules).into_iter().collect(),
            Decoder::Mapp => {
                let sites = mapp::read_path(&request.path, "").map_or("", |(sites, _)| sites);
                mapp::collect(&inbound, rules, sites).hits
            }
            Decoder::MappBatch => {
                let Ok(body) = batch::unpack(request.body.clone(), batch::Packing::Plain, 1) else {
                    return Vec::new();
                };
                let sender = Sender::of(&inbound, rules);
                let defaults = batch::defaults(&request.query);
                batch::lines(&body)
                    .flat_map(|line| batch::line_hits(&sender, "111111111111111", &defaults, line))
                    .collect()
            }
            Decoder::Pixel => vec![native::collect(&inbound, rules)],
            Decoder::Php => {
                let _ = black_box(mautic::decode_php(&request.body, 1_000));
                Vec::new()
            }
            Decoder::Form => {
                let content_type = headers
                    .get("content-type")
                    .and_then(|value| value.to_str().ok());
                let Ok(post) = Post::read(content_type, &Bytes::copy_from_slice(&request.body))
                else {
                    return Vec::new();
                };
                mautic::submit(&inbound, rules, FormId(3), &self.form, &post)
                    .map(|submission| submission.hit)
                    .into_iter()
                    .collect()
            }
        }
    }
}
