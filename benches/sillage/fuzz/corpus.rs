//! What the mutations start from: the recorded cases, and a few requests by hand for what has none.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzEncoder;
use serde_json::Value;

use super::super::decoders::{Decoder, Request};

/// Longest body to start from.
const MOST_START: usize = 4 << 10;

/// Requests for a decoder.
pub fn read(decoder: Decoder) -> anyhow::Result<Vec<Request>> {
    let mut requests = by_hand(decoder);
    let folder = match decoder {
        Decoder::Token => "native",
        Decoder::AdobeLink | Decoder::AdobeTag => "adobe",
        Decoder::Mapp | Decoder::MappBatch => "mapp",
        Decoder::Pixel | Decoder::Php | Decoder::Form => "mautic",
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(folder);
    let mut files: Vec<_> = match std::fs::read_dir(&dir) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    for file in files {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".http") {
            requests.extend(read_raw(&std::fs::read(&file)?));
        } else if name.ends_with(".json") && !name.starts_with("setup") {
            let case: Value = serde_json::from_slice(&std::fs::read(&file)?)
                .with_context(|| file.display().to_string())?;
            let steps = case["steps"].as_array().into_iter().flatten();
            requests.extend(steps.filter_map(|step| read_request(&step["request"])));
        }
    }
    if decoder == Decoder::Php {
        let payloads = requests.iter().flat_map(payloads).map(|body| Request {
            body,
            ..Request::default()
        });
        requests = payloads.collect();
        requests.extend(by_hand(decoder));
    } else {
        // Batches of megabytes, packed or not, are no start for ten million others.
        requests.retain(|request| is_for(decoder, request) && request.body.len() <= MOST_START);
    }
    Ok(requests)
}

fn is_for(decoder: Decoder, request: &Request) -> bool {
    let path = request.path.as_str();
    match decoder {
        Decoder::AdobeLink => request.query.contains("id=") && !request.query.contains("tagid="),
        Decoder::AdobeTag => request.query.contains("tagid="),
        Decoder::MappBatch => path.ends_with("/batch") && !request.body.starts_with(&[0x1f, 0x8b]),
        Decoder::Mapp => !path.ends_with("/batch"),
        Decoder::Form => path.starts_with("/form/"),
        Decoder::Pixel => !path.starts_with("/form/"),
        Decoder::Token => path.starts_with("/r/"),
        Decoder::Php => true,
    }
}

fn read_request(request: &Value) -> Option<Request> {
    let (path, query) = split(request["path"].as_str()?);
    let header = |wanted: &str| {
        let pairs = request["headers"].as_array().into_iter().flatten();
        pairs
            .filter(|pair| {
                pair[0]
                    .as_str()
                    .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
            })
            .find_map(|pair| pair[1].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let mut content_type = header("content-type");
    let body = if let Some(text) = request["body"].as_str() {
        text.as_bytes().to_vec()
    } else if let Some(text) = request["body_base64"].as_str() {
        STANDARD.decode(text).unwrap_or_default()
    } else if let Some(pairs) = request["form"].as_array() {
        content_type = "application/x-www-form-urlencoded".to_owned();
        let mut form = form_urlencoded::Serializer::new(String::new());
        for pair in pairs {
            form.append_pair(pair[0].as_str()?, pair[1].as_str()?);
        }
        form.finish().into_bytes()
    } else {
        Vec::new()
    };
    Some(Request {
        path,
        query,
        cookie: header("cookie"),
        content_type,
        body,
    })
}

fn read_raw(bytes: &[u8]) -> Option<Request> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (path, query) = split(head.split(' ').nth(1)?);
    Some(Request {
        path,
        query,
        body: body.as_bytes().to_vec(),
        ..Request::default()
    })
}

fn split(target: &str) -> (String, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (path.to_owned(), query.to_owned())
}

/// What stands in the `d` and `ct` of a request.
fn payloads(request: &Request) -> Vec<Vec<u8>> {
    form_urlencoded::parse(request.query.as_bytes())
        .chain(form_urlencoded::parse(&request.body))
        .filter(|(name, _)| name == "d" || name == "ct")
        .filter_map(|(_, value)| STANDARD.decode(value.as_bytes()).ok())
        .collect()
}

fn by_hand(decoder: Decoder) -> Vec<Request> {
    let get = |path: &str, query: &str| Request {
        path: path.to_owned(),
        query: query.to_owned(),
        ..Request::default()
    };
    let post = |path: &str, content_type: &str, body: &str| Request {
        path: path.to_owned(),
        query: "formId=3".to_owned(),
        content_type: content_type.to_owned(),
        body: body.as_bytes().to_vec(),
        ..Request::default()
    };
    let wt = "p=600,shop%2Cde,1,1024x768,24,1,1795280211137,https%3A%2F%2Fa.example%2F%3Fq%3Da%2Cb,0x0,0&eid=2179528021194246163&ceid=X-1\
        &ba=p1%3Bp2&co=59.99%3B49.99&qn=1%3B5&st=conf%3Bview&ca1=a%3Bb&ov=360.93&oi=O-1&cr=EUR&cd=24&uc700=john%40doe.com&ct=click&ck1=v\
        &mc=wt_mc%253Dnews.1&mca=c&is=a&cp1=x%3By&pu=https%3A%2F%2Fshop.example%2F%3Fwt_mc%3Dx&X-WT-IP=203.0.113.7&X-WT-UA=a&nc=0&X-WT-Secret=0123456789abcdef";
    let serialised = "a:7:{s:6:\"source\";a:2:{i:0;s:5:\"email\";i:1;i:3;}s:5:\"email\";i:3;s:4:\"stat\";s:22:\"5f1a7f8b2c3d4567890123\";\
        s:9:\"sent_time\";i:1700000000;s:4:\"lead\";s:2:\"42\";s:4:\"rate\";d:0.5;s:2:\"ok\";b:1;}";
    let d = STANDARD.encode(serialised).replace('=', "%3D");
    match decoder {
        Decoder::Token => vec![get(
            "/r/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "utm_source=a&_sl=b",
        )],
        Decoder::AdobeLink => vec![
            get(
                "/r/",
                "id=h617791,71ffa3,71ffa8&p1=Name&e=cDE9R0hNViZ1dG1fc291cmNlPXg&s=abc",
            ),
            get("//r/", "id=h3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70,a5e21a,1"),
        ],
        Decoder::AdobeTag => vec![get(
            "/r/a",
            "tagid=home%7Ct%7CShop&jobid=71ffa3&rcpid=saccount%3D10&amount=49.90&article=2&x=y",
        )],
        Decoder::Mapp => vec![get("/111111111111111,222222222222222/wt-kbo5pzrs", wt)],
        Decoder::MappBatch => {
            let lines =
                format!("wt?{wt}\n?p=600,beacon\r\nwt.pl?p=300\\nwt?p=600,second\n\nnonsense");
            let batch = post("/111111111111111/batch", "text/plain", &lines);
            let mut packed = batch.clone();
            let mut packer = GzEncoder::new(lines.as_bytes(), Compression::fast());
            packed.body.clear();
            // Reading from memory does not fail.
            let _ = packer.read_to_end(&mut packed.body);
            vec![batch, packed]
        }
        Decoder::Pixel => vec![
            get(
                "/mtracking.gif",
                &format!("d={d}&ct={d}&mautic_device_id=abcdefghijklmnopqrstuvw"),
            ),
            get(
                "/mtracking.gif",
                "page_url=a%3Futm_source%3Db&tags=a,-b&email=a%40b.example&revenue=1,50&quantity=3&_sl=x&delivery_id=7",
            ),
        ],
        Decoder::Php => vec![Request {
            body: serialised.as_bytes().to_vec(),
            ..Request::default()
        }],
        Decoder::Form => vec![
            post(
                "/form/submit",
                "application/x-www-form-urlencoded",
                "mauticform%5Bemail%5D=a%40b.example&mauticform%5Bf_name%5D=Ada&mauticform%5Btopics%5D%5B%5D=x&mauticform%5BformId%5D=3&mauticform%5Breturn%5D=https%3A%2F%2Fa.example",
            ),
            post(
                "/form/submit",
                "multipart/form-data; boundary=----B",
                "------B\r\nContent-Disposition: form-data; \
                name=\"mauticform[email]\"\r\n\r\na@b.example\r\n------B\r\nContent-Disposition: \
                form-data; name=\"mauticform[file]\"; filename=\"x.png\"\r\nContent-Type: \
                image/png\r\n\r\nPNG\r\n------B--\r\n",
            ),
        ],
    }
}
