//! Requests by hand.

mod properties;

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::model::clock::Micros;
use crate::model::hit::VisitorId;
use crate::model::keys::Keys;
use crate::model::site::Site;
use crate::tracking::MappRules;

pub(super) const NOW: Micros = Micros(1_795_300_000_000_000);
pub(super) const SECRET: &str = "a-secret-of-the-site";
pub(super) const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";

pub(super) fn rules() -> Rules {
    Rules {
        public: vec!["email".to_owned(), "customer_id".to_owned()],
        mapp: MappRules {
            secrets: vec![("111".to_owned(), SECRET.to_owned())],
            ..MappRules::default()
        },
        ..Rules::new(Keys::parse(&[format!("1:{}", "k".repeat(32))]).unwrap())
    }
}

pub(super) struct Asked<'a> {
    pub(super) query: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) is_trusted: bool,
}

pub(super) fn with<T>(asked: &Asked<'_>, read: impl FnOnce(&Inbound<'_>, &Rules) -> T) -> T {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static(BROWSER));
    for (name, value) in asked.headers {
        headers.append(
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    let inbound = Inbound {
        site: Site::usual(),
        method: &Method::GET,
        target: "/",
        rest: "",
        is_repaired: false,
        query: asked.query,
        headers: &headers,
        body: &[],
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        is_forwarded: false,
        is_trusted_sender: asked.is_trusted,
        received_at: NOW,
        new_visitor: VisitorId(uuid::Uuid::nil()),
    };
    read(&inbound, &rules())
}

pub(super) fn hit_of(query: &str, headers: &[(&str, &str)], is_trusted: bool) -> Hit {
    let asked = Asked {
        query,
        headers,
        is_trusted,
    };
    let mut hits = with(&asked, |inbound, rules| collect(inbound, rules, "111").hits);
    assert_eq!(hits.len(), 1);
    hits.remove(0)
}

pub(super) fn hit(query: &str) -> Hit {
    hit_of(query, &[], false)
}

pub(super) fn extra(hit: &Hit, name: &str) -> Value {
    hit.extra
        .as_ref()
        .and_then(|extra| extra.get(name))
        .cloned()
        .unwrap_or_default()
}

pub(super) fn visitor(id: &str) -> Option<VisitorId> {
    Some(foreign_visitor("mapp", id))
}

#[test]
fn paths_are_told_apart() {
    for (path, call) in [
        ("/111111111111111/wt", Some(Call::Hit)),
        ("//111/wt.pl", Some(Call::Hit)),
        ("/111,222/wt-kbo5pzrs", Some(Call::Hit)),
        ("/a_B-9/batch", Some(Call::Batch)),
        ("/111/optout", Some(Call::Optout)),
        ("/111/re.pl", Some(Call::Redirect)),
        ("/own/path", Some(Call::Hit)),
        ("/111/wtA", None),
        ("/111/wt-kbo5pzrskbo5pzrs", None),
        ("/11.1/wt", None),
        ("/111/wt/x", None),
        ("/111", None),
        ("/wt", None),
    ] {
        assert_eq!(
            read_path(path, "/own/path").map(|(_, call)| call),
            call,
            "{path}"
        );
    }
    assert!(read_path("/own/path", "").is_none());
    assert_eq!(split_sites(",111,,222,111"), ["111", "222"]);
    assert_eq!(split_sites(&"1,2,3,4,5,6,7,8,9,a,b,c".repeat(99)).len(), 10);
}

#[test]
fn p_has_any_number_of_fields() {
    let page = |p: &str| hit(&format!("p={p}")).page_title;
    assert_eq!(page("300"), None);
    assert_eq!(page(""), None);
    assert_eq!(page("300,home"), Some("home".to_owned()));
    assert_eq!(page("300,0,0"), None);
    assert_eq!(page("300,a%2Cb,1"), Some("a,b".to_owned()));
    assert_eq!(page("300%2Chome%2c1"), Some("home".to_owned()));
    let many = format!("300,home{}", ",x".repeat(398));
    let many = hit(&format!("p={many}"));
    assert_eq!(many.page_title.as_deref(), Some("home"));
    assert_eq!(
        many.reason.as_deref(),
        Some("client time is no time; p has too many fields")
    );
    assert_eq!(extra(&many, "p_rest").as_str().unwrap().len(), 2 * 390 - 1);
    assert_eq!(hit("a=b").reason.as_deref(), Some("p missing"));
}

#[test]
fn the_clients_clock_is_believed_where_its_sender_is() {
    let query = "p=300,home,1,1024x768,24,1,1795200000000,2,1000x700,1";
    let public = hit(query);
    assert_eq!(public.occurred_at, None);
    assert_eq!(
        public.extra,
        json!({ "pixel_version": "300", "javascript": "1", "screen": "1024x768", "color_depth": "24", "cookies": "1",
                "client_time": "1795200000000", "referrer": "follow-up request", "window": "1000x700", "java": "1" })
        .as_object()
        .cloned()
    );
    let trusted = hit_of(query, &[], true);
    assert_eq!(trusted.occurred_at, Some(Micros(1_795_200_000_000_000)));
    let ahead = hit_of("p=300,home,1,0,0,1,1795300000001", &[], true);
    assert_eq!(ahead.occurred_at, None);
    assert_eq!(extra(&ahead, "client_time"), "1795300000001");
}

#[test]
fn ids_name_the_visitor_in_their_order() {
    let eid = "2160000000012345678";
    assert_eq!(hit(&format!("p=300&eid={eid}")).visitor_id, visitor(eid));
    assert_eq!(hit("p=300&ceid=XYZ").visitor_id, visitor("XYZ"));
    let both = hit(&format!("p=300&ceid=XYZ&eid={eid}"));
    assert_eq!(both.visitor_id, visitor(eid));
    assert_eq!(extra(&both, "ceid"), "XYZ");
    assert_eq!(hit("p=300").visitor_id, None);
    assert_eq!(hit("p=300&eid=0&ceid=%20").visitor_id, None);
    let of = |cookies: &str| hit_of("p=300", &[("cookie", cookies)], false).visitor_id;
    assert_eq!(
        of("wt3_eid=%3B999%7C1%3B111%7C2143%232156; wteid_111=4123"),
        visitor("4123")
    );
    assert_eq!(of("wtstp_eid=7; wteid_111=4123"), visitor("7"));
    assert_eq!(
        of("wt3_eid=%3B999%7C1%3B111%7C2143%232156"),
        visitor("2143")
    );
    assert_eq!(of("wt3_eid=%3B999%7C1; wteid_222=8"), None);
}

#[test]
fn nc_leaves_no_identity() {
    let query = "p=300,home&nc=1&eid=2160000000012345678&ceid=x&cd=24&uc700=a%40x.example&uc703=Ada&fpv=u1&X-WT-IP=203.0.113.7";
    for is_trusted in [false, true] {
        let hit = hit_of(query, &[("cookie", "wtstp_eid=7; visitorId=x")], is_trusted);
        assert_eq!(
            (hit.visitor_id, hit.ip, &hit.fields),
            (None, None, &Vec::new())
        );
        let told = format!("{hit:?}");
        for secret in ["2160000", "x.example", "Ada", "u1", "203.0"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
        assert!(hit.reason.unwrap().contains("anonymous: nc=1"));
    }
    let out = hit_of("p=300,home&eid=7", &[("cookie", "webtrekkOptOut=1")], false);
    assert_eq!(
        (out.visitor_id, out.reason.as_deref()),
        (None, Some("anonymous: opted out"))
    );
}

#[test]
fn an_order_is_a_transaction_and_a_basket_is_none() {
    let order = hit(
        "p=600,thanks&ov=360.93&oi=O-4711&cr=eur&ba=a;b&co=59.99;49.99&qn=1;5&st=conf&ca1=shoe;&cb760=0;0",
    );
    assert_eq!(order.kind, Kind::Transaction);
    assert_eq!(order.revenue.unwrap().to_string(), "360.93");
    assert_eq!(order.currency.unwrap().as_str(), "EUR");
    assert_eq!(
        (order.order_id.as_deref(), order.quantity),
        (Some("O-4711"), Some(6))
    );
    assert_eq!(
        extra(&order, "products"),
        json!([{ "id": "a", "cost": "59.99", "quantity": "1", "status": "conf", "ca1": "shoe" },
               { "id": "b", "cost": "49.99", "quantity": "5", "status": "conf" }])
    );
    assert_eq!(extra(&order, "cb760"), "0;0");
    let basket = hit("p=600,shoes&ba=a&co=59.99&qn=2&st=add");
    assert_eq!((basket.kind, basket.quantity), (Kind::Pageview, None));
    let odd = hit("p=600,x&ba=a;b;c&co=1;2&ov=much&cr=Euro");
    assert_eq!(
        odd.reason.as_deref(),
        Some("ov no number; cr unknown; product lists of different lengths")
    );
    assert_eq!(
        extra(&odd, "products"),
        json!([{ "id": "a", "cost": "1" }, { "id": "b", "cost": "2" }, { "id": "c" }])
    );
    let long = hit(&format!("p=600,x&ov=1&qn={}1&ba=a", "1;".repeat(400)));
    assert_eq!(long.quantity, Some(401));
    assert_eq!(extra(&long, "ba"), "a");
}

#[test]
fn a_list_of_products_has_an_end_and_what_is_beyond_it_stays_as_it_came() {
    let lists = |parts: usize, products: usize| {
        let list = vec!["a"; products].join(";");
        (1..=parts).fold("p=300,home".to_owned(), |query, part| {
            format!("{query}&ca{part}={list}")
        })
    };
    let count = |query: &str, sites: &str| {
        let asked = Asked {
            query,
            headers: &[],
            is_trusted: false,
        };
        let hits = with(&asked, |inbound, rules| collect(inbound, rules, sites).hits);
        hits.iter()
            .map(|hit| extra(hit, "products").as_array().map(Vec::len))
            .collect::<Vec<_>>()
    };
    assert_eq!(count(&lists(5, 200), "111"), [Some(200)]);
    assert_eq!(count(&lists(1, 201), "111"), [None]);
    assert_eq!(count(&lists(5, 100), "111,222"), [Some(100); 2]);
    assert_eq!(count(&lists(6, 100), "111,222"), [None; 2]);
    let many = hit(&lists(6, 200));
    assert_eq!(many.reason.as_deref(), Some("too many products for a list"));
    assert_eq!(extra(&many, "ca6").as_str().unwrap().len(), 399);
    let twice = hit("p=300,home&ba=a;b&ba=c;d&ba=e;f");
    assert_eq!(extra(&twice, "products")[1]["id"], "b");
    assert_eq!(extra(&twice, "ba again"), "c;d");
    assert_eq!(extra(&twice, "ba again again"), "e;f");
    assert_eq!(twice.reason.as_deref(), Some("parameter given twice"));
}

#[test]
fn campaigns_are_read_however_often_they_are_encoded() {
    let campaign = |query: &str| hit(&format!("p=300,x&{query}")).utm.campaign;
    for query in [
        "mc=wt_mc%3Dnews.1",
        "mc=wt_mc%253Dnews.1",
        "mc=news.1",
        "mc=wt_mc=news.1",
    ] {
        assert_eq!(campaign(query).as_deref(), Some("news.1"), "{query}");
    }
    assert_eq!(campaign("mc=wt_mc%3Da%253Db").as_deref(), Some("a=b"));
    assert_eq!(
        campaign("pu=https%3A%2F%2Fa%2F%3Fwt_mc%3Dnews.2%26q%3D1").as_deref(),
        Some("news.2")
    );
    for query in ["mc=ignore%3Dignore", "mc=ignore%253Dignore"] {
        assert_eq!(
            campaign(&format!("{query}&pu=https%3A%2F%2Fa%2F%3Fwt_mc%3Dnews.2")),
            None
        );
    }
    let usual =
        hit("p=300&pu=https%3A%2F%2Fa%2F%3Futm_source%3Dn%26utm_campaign%3Dc&mc=wt_mc%3Dnews.1");
    assert_eq!(usual.utm.source.as_deref(), Some("n"));
    assert_eq!(usual.utm.campaign.as_deref(), Some("news.1"));
}

#[test]
fn personal_data_becomes_fields_where_the_public_may_set_them() {
    let hit = hit("p=300&uc700=a%40x.example&uc703=Ada&cd=24&uc1=x");
    let fields: Vec<_> = hit
        .fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(fields, [("email", "a@x.example"), ("customer_id", "24")]);
    assert_eq!(extra(&hit, "uc703"), "Ada");
    assert_eq!(extra(&hit, "uc700"), Value::Null);
}

#[test]
fn what_the_pixel_hid_is_read() {
    use base64::Engine as _;
    let hide = |name: &str, value: &str| {
        let bytes: Vec<u8> = value
            .bytes()
            .zip(name.bytes().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!(
            "{name}=__1_{}",
            base64.replace('=', "_").replace('/', "*").replace('+', "-")
        )
    };
    let hit = hit(&format!(
        "p=300&{}&{}&ck2=__1_!!",
        hide("ov", "12.50"),
        hide("ck1", "hidden?>~")
    ));
    assert_eq!(hit.revenue.unwrap().to_string(), "12.5");
    assert_eq!(extra(&hit, "ck1"), "hidden?>~");
    assert_eq!(extra(&hit, "ck2"), "__1_!!");
}

#[test]
fn redirects_lead_to_listed_hosts_only() {
    let hosts = ["www.example.com", "*.shop.example"].map(|text| HostPattern::parse(text).unwrap());
    let target = |t: &str| {
        let t: String = form_urlencoded::byte_serialize(t.as_bytes()).collect();
        read_target(&format!("c=x&t={t}"), &hosts).map(|url| url.to_string())
    };
    for good in [
        "https://www.example.com/a?b=c#d",
        "http://a.shop.example/",
        "https://a.b.shop.example:8443/",
        "https://www.example.com./",
    ] {
        assert_eq!(target(good).as_deref(), Some(good));
    }
    assert_eq!(
        target("https%3A%2F%2Fwww.example.com%2Fa").as_deref(),
        Some("https://www.example.com/a")
    );
    for bad in [
        "https://evil.example/",
        "https://shop.example/",
        "https://evilshop.example/",
        "https://www.example.com.evil.example/",
        "https://www.example.com@evil.example/",
        "https://user@www.example.com/",
        "javascript:alert(1)",
        "//www.example.com/",
        "https:\\\\evil.example\\@www.example.com/",
        "https://evil.example#www.example.com",
        "",
        "data:text/html,x",
        "ftp://www.example.com/",
        "https://www.example.com%2eevil.example/",
    ] {
        assert_eq!(target(bad), None, "{bad}");
    }
    assert!(read_target("t=https%3A%2F%2Fwww.example.com%2F", &[]).is_none());
    assert!(read_target("c=x", &hosts).is_none());
}

#[test]
fn an_opt_out_is_a_cookie_that_scripts_read_and_its_end_takes_it_away() {
    for (query, value, days) in [
        ("", "1", OPTOUT_DAYS),
        ("duration=30", "1", 30),
        ("duration=99999", "1", MOST_OPTOUT_DAYS),
        ("duration=0", "", 0),
        ("duration=-1", "", 0),
    ] {
        let asked = Asked {
            query,
            headers: &[],
            is_trusted: false,
        };
        let decoded = with(&asked, |inbound, rules| {
            answer(inbound, rules, Call::Optout)
        });
        let cookie = OwnCookie {
            name: OPTOUT_COOKIE.into(),
            value: value.to_owned(),
            days: Some(days),
            is_for_scripts: true,
        };
        assert_eq!(decoded.cookies.own, [cookie], "{query}");
        assert_eq!(decoded.reply, Reply::Gif);
    }
}
