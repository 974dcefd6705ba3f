//! What goes wrong elsewhere when a mail's links are rewritten, as public reports tell it: each is
//! a test here. Tokens are the links' numbers from 1, and `m` the message's own.

use proptest::prelude::*;

use super::*;

const ADDRESSES: Addresses<'static> = Addresses {
    link: "https://t.example/r/",
    pixel: "https://t.example/o/",
    unsubscribe: "https://t.example/u/",
};
const PIXEL: &str = r#"<img src="https://t.example/o/m.gif" width="1" height="1" alt="">"#;

fn source(html: Option<&str>, text: Option<&str>) -> Source {
    Source {
        html: html.map(str::to_owned),
        text: text.map(str::to_owned),
    }
}

fn compiled(html: Option<&str>, text: Option<&str>) -> Compiled {
    let own = ["https://t.example/r".to_owned()];
    let rules = Rules {
        personal_hosts: &[],
        own_urls: &own,
    };
    compile(&source(html, text), &rules).unwrap()
}

fn refusal(html: &str) -> String {
    let error = compile(&source(Some(html), None), &Rules::default());
    error.unwrap_err().to_string()
}

/// A contact's fields.
const FIELDS: [(&str, &str); 5] = [
    ("name", "Ada & <Bob> \"x\" 'y'"),
    ("path", "a b/../c?d"),
    ("page", "javascript:alert(1)"),
    ("host", "evil.example/"),
    ("email", "ada+x@example.com"),
];

fn written(part: Part, source: &str, compiled: &Compiled) -> String {
    let edits = match part {
        Part::Html => &compiled.html,
        Part::Text => &compiled.text,
    };
    let fields: Vec<String> = FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let values: Vec<String> = FIELDS
        .iter()
        .map(|(_, value)| (*value).to_owned())
        .collect();
    let numbers: Vec<String> = (1..=compiled.links.len()).map(|n| n.to_string()).collect();
    let tokens: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let template = Template::new(part, source, edits, &fields, ADDRESSES);
    let letter = Letter {
        links: &tokens,
        message: "m",
        values: &values,
    };
    let mut json = "\"".to_owned();
    template.write(&letter, &mut json);
    json.push('"');
    serde_json::from_str(&json).unwrap()
}

/// The HTML of a message, without its open pixel.
fn sent(html: &str) -> String {
    let compiled = compiled(Some(html), None);
    let written = written(Part::Html, html, &compiled);
    assert_eq!(written.matches(PIXEL).count(), 1, "{written}");
    written.replace(PIXEL, "")
}

fn sent_text(text: &str) -> String {
    written(Part::Text, text, &compiled(None, Some(text)))
}

fn urls(html: &str) -> Vec<String> {
    let links = compiled(Some(html), None).links;
    links.into_iter().map(|link| link.url).collect()
}

fn codes(html: &str) -> Vec<&'static str> {
    let warnings = compiled(Some(html), None).warnings;
    let codes = warnings.into_iter().map(|warning| warning.code);
    codes.filter(|code| *code != "no_unsubscribe").collect()
}

#[test]
fn entities_in_an_address_are_what_they_stand_for() {
    for (href, url) in [
        (
            "https://x.example/?a=1&amp;b=2",
            "https://x.example/?a=1&b=2",
        ),
        (
            "https://x.example/?a=1&#38;b=2",
            "https://x.example/?a=1&b=2",
        ),
        (
            "https://x.example/?a=1&#x26;b=2",
            "https://x.example/?a=1&b=2",
        ),
        ("https://x.example/?a=1&b=2", "https://x.example/?a=1&b=2"),
        // No entity: browsers read it so, since it stands before an equals sign.
        (
            "https://x.example/?a=1&copy=2",
            "https://x.example/?a=1&copy=2",
        ),
        (
            "https://x.example/caf&eacute;",
            "https://x.example/caf%C3%A9",
        ),
        ("https&colon;//x.example/", "https://x.example/"),
    ] {
        let html = format!("<a href=\"{href}\">x</a>");
        assert_eq!(urls(&html), [url]);
        assert_eq!(sent(&html), "<a href=\"https://t.example/r/1\">x</a>");
    }
}

#[test]
fn what_is_no_web_page_stays_byte_for_byte() {
    for href in [
        "#section",
        "",
        "mailto:a@x.example?subject=A%20b&amp;body=c",
        "tel:+49-30-1",
        "sms:+1",
        "whatsapp://send?text=x",
        "myapp://open/7",
        "cid:part1",
        "  #top ",
    ] {
        let html = format!("<p><a  HREF = '{href}' class=x>x</a>");
        assert_eq!(sent(&html), html);
        assert_eq!(urls(&html).len(), 0);
        assert_eq!(codes(&html).len(), 0, "{href}");
    }
}

#[test]
fn placeholders_in_an_address_become_values_of_the_messages_link() {
    let html = "<a href=\"https://x.example/{{path}}?n={{ name }}&amp;m=*|EMAIL|*&amp;o=%%id%%&amp;p={{name}}\">x</a>";
    assert_eq!(
        urls(html),
        ["https://x.example/{p1}?n={p2}&m={p3}&o={p4}&p={p2}"]
    );
    assert_eq!(
        sent(html),
        "<a href=\"https://t.example/r/1?p1=a%20b%2F..%2Fc%3Fd\
        &amp;p2=Ada%20%26%20%3CBob%3E%20%22x%22%20%27y%27&amp;p3=*|EMAIL|*&amp;p4=%%id%%\">x</a>"
    );
    let text = "https://x.example/?n={{name}}&m=*|EMAIL|*.";
    assert_eq!(
        sent_text(text),
        "https://t.example/r/1?p1=Ada%20%26%20%3CBob%3E%20%22x%22%20%27y%27&p2=*|EMAIL|*."
    );
}

#[test]
fn a_value_is_escaped_for_its_place() {
    for (html, expected) in [
        (
            "<p>{{name}}</p>",
            "<p>Ada &amp; &lt;Bob&gt; &quot;x&quot; &#39;y&#39;</p>",
        ),
        (
            "<img alt='{{name}}'>",
            "<img alt='Ada &amp; &lt;Bob&gt; &quot;x&quot; &#39;y&#39;'>",
        ),
        (
            "<img alt={{name}} id=x>",
            "<img alt=\"Ada &amp; &lt;Bob&gt; &quot;x&quot; &#39;y&#39;\" id=x>",
        ),
        (
            "<img src=\"https://i.example/{{path}}/x.png?n={{name}}\">",
            "<img src=\"https://i.example/a%20b%2F..%2Fc%3Fd/x.png\
            ?n=Ada%20%26%20%3CBob%3E%20%22x%22%20%27y%27\">",
        ),
        ("<img src=\"{{page}}\">", "<img src=\"\">"),
        (
            "<img src=\"https://{{host}}/x\">",
            "<img src=\"https:///x\">",
        ),
        (
            "<a href=\"mailto:{{email}}?subject={{name}}\">x</a>",
            "<a href=\"mailto:ada+x@example.com\
            ?subject=Ada%20%26%20%3CBob%3E%20%22x%22%20%27y%27\">x</a>",
        ),
        (
            "<title>{{name}}</title>",
            "<title>Ada &amp; &lt;Bob&gt; &quot;x&quot; &#39;y&#39;</title>",
        ),
        ("<p>{{nobody}}.</p>", "<p>.</p>"),
        // Not where no value is safe.
        ("<p>Ada <{{email}}></p>", "<p>Ada <{{email}}></p>"),
        ("</{{name}} <!{{name}}", "</{{name}} <!{{name}}"),
        ("<style>{{name}}</style>", "<style>{{name}}</style>"),
        ("<script>{{name}}</script>", "<script>{{name}}</script>"),
        (
            "<p style=\"color:{{name}}\">",
            "<p style=\"color:{{name}}\">",
        ),
        ("<p onclick=\"{{name}}\">", "<p onclick=\"{{name}}\">"),
        ("<!-- {{name}} -->", "<!-- {{name}} -->"),
        // Of others.
        (
            "<p>*|NAME|* %%name%% {{#if a}}{{{name}}}{{/if}}</p>",
            "<p>*|NAME|* %%name%% {{#if a}}{{{name}}}{{/if}}</p>",
        ),
    ] {
        assert_eq!(sent(html), expected);
    }
    assert_eq!(
        sent_text("Hi {{name}},\n{{path}}"),
        "Hi Ada & <Bob> \"x\" 'y',\na b/../c?d"
    );
    assert_eq!(
        codes("<p>*|NAME|* *|NAME|* {{#if a}}"),
        ["placeholder", "placeholder"]
    );
    assert_eq!(codes("<style>{{name}}</style>"), ["not_filled"]);
}

const BUTTON: &str = r#"<!--[if mso]>
<v:roundrect xmlns:v="urn:schemas-microsoft-com:vml" href="https://x.example/buy?a=1&amp;b=2" style="height:40px">
<w:anchorlock/><center>Buy</center></v:roundrect>
<![endif]--><!--[if !mso]><!--><a href="https://x.example/buy?a=1&b=2" style="x">Buy <b>n</b>ow</a><!--<![endif]-->"#;

#[test]
fn outlooks_button_is_the_same_link_as_everybody_elses() {
    assert_eq!(urls(BUTTON), ["https://x.example/buy?a=1&b=2"]);
    let links = compiled(Some(BUTTON), None).links;
    assert_eq!(links[0].label.as_deref(), Some("Buy now"));
    assert_eq!(
        sent(BUTTON),
        BUTTON
            .replace("https://x.example/buy?a=1&amp;b=2", "https://t.example/r/1")
            .replace("https://x.example/buy?a=1&b=2", "https://t.example/r/1")
    );
    // Around one link for all.
    let around = r#"<!--[if mso]><v:rect href="https://x.example/a"><v:textbox><![endif]-->
        <a href="https://x.example/a">A</a><!--[if mso]></v:textbox></v:rect><![endif]-->"#;
    assert_eq!(urls(around).len(), 1);
    assert_eq!(
        sent(around),
        around.replace("https://x.example/a", "https://t.example/r/1")
    );
}

#[test]
fn a_link_for_outlook_alone_is_a_link() {
    let html = "<!--[if gte mso 9]><a href=\"https://x.example/mso\">{{email}}</a><![endif]-->\
        <![if !mso]><a href=https://x.example/else>x</a><![endif]>";
    assert_eq!(
        urls(html),
        ["https://x.example/mso", "https://x.example/else"]
    );
    assert_eq!(
        sent(html),
        "<!--[if gte mso 9]><a href=\"https://t.example/r/1\">ada+x@example.com</a><![endif]-->\
        <![if !mso]><a href=\"https://t.example/r/2\">x</a><![endif]>"
    );
    // Another comment is one.
    let comment = "<!-- <a href=\"https://x.example/old\">{{name}}</a> -->";
    assert_eq!(sent(comment), comment);
}

#[test]
fn what_mail_programs_show_instead_of_scripts_is_read() {
    let html = "<noscript><a href=\"https://x.example/\">x</a></noscript>";
    assert_eq!(
        sent(html),
        "<noscript><a href=\"https://t.example/r/1\">x</a></noscript>"
    );
    let script = "<script>'<a href=\"https://x.example/\">'</script>\
        <style>a[href=\"https://x.example/\"]{}</style><textarea><a href=\"https://x.example/\"></textarea>";
    assert_eq!(sent(script), script);
}

#[test]
fn the_same_address_at_several_places_is_several_links() {
    let html = "<a href=\"https://x.example/\"><img alt=\"Logo &amp; co\"></a><p>\
        <a href=\"https://x.example/\"> Our\n <b>lamps</b><br>of today</a>\
        <map><area href=\"https://x.example/\" alt=\"left\"></map>";
    let links = compiled(Some(html), None).links;
    let labels: Vec<_> = links
        .iter()
        .filter_map(|link| link.label.as_deref())
        .collect();
    assert_eq!(labels, ["Logo & co", "Our lamps of today", "left"]);
    assert_eq!(sent(html).matches("https://t.example/r/").count(), 3);
    let with_text = compiled(Some(html), Some("https://x.example/"));
    assert_eq!(with_text.links.len(), 4);
    assert_eq!(
        (with_text.links[3].part, &with_text.links[3].label),
        (Part::Text, &None)
    );
}

#[test]
fn a_link_can_be_left_out_in_every_vendors_way() {
    for attribute in [
        "clicktracking=\"off\"",
        "clicktracking=off",
        "data-msys-clicktrack=\"0\"",
        "mautic:disable-tracking",
        "mautic:disable-tracking=\"true\"",
        "CLICKTRACKING='OFF'",
    ] {
        let html = format!("<a {attribute} href=\"https://x.example/\">x</a>");
        assert_eq!(sent(&html), html, "others' words stay, for others");
        assert_eq!(codes(&html).len(), 0);
    }
    for (html, expected) in [
        (
            "<a data-sillage=\"off\" href=\"https://x.example/\">",
            "<a href=\"https://x.example/\">",
        ),
        (
            "<a href=https://x.example/ data-sillage=off>",
            "<a href=https://x.example/>",
        ),
        (
            "<a\n DATA-SILLAGE = 'off'\thref='https://x.example/' />",
            "<a\thref='https://x.example/' />",
        ),
        (
            "<a href=https://x.example/a data-sillage=\"off\"/>",
            "<a href=https://x.example/a />",
        ),
        (
            "<a data-sillage=\"off\"href=\"https://x.example/\">",
            "<a href=\"https://x.example/\">",
        ),
        (
            "<a href='https://x.example/{{name}}' data-sillage=off data-sillage=off>",
            "<a href='https://x.example/Ada%20%26%20%3CBob%3E%20%22x%22%20%27y%27'>",
        ),
    ] {
        assert_eq!(sent(html), expected);
        assert_eq!(urls(html).len(), 0);
    }
    // The same address in the text is left out with it.
    let both = compiled(
        Some("<a data-sillage=off href=\"https://x.example/a\">x</a>"),
        Some("https://x.example/a https://x.example/b"),
    );
    assert_eq!(both.links.len(), 1);
    assert_eq!(
        codes("<a data-sillage=\"no\" href=\"https://x.example/\">"),
        ["attribute"]
    );
    assert_eq!(codes("<p data-sillage=off>"), ["attribute"]);
    assert_eq!(sent("<p data-sillage=off>"), "<p>");
}

#[test]
fn ways_out_and_mirrors_say_what_they_are() {
    let html = "<a data-sillage-kind=\"optout\" href=\"https://x.example/out\">Unsubscribe</a>\
        <a href=\"https://x.example/web\" data-sillage-kind=MIRROR>In the browser</a>";
    let found = compiled(Some(html), Some("Out: https://x.example/out"));
    let kinds: Vec<_> = found.links.iter().map(|link| link.kind).collect();
    assert_eq!(
        kinds,
        [LinkKind::Optout, LinkKind::Mirror, LinkKind::Optout]
    );
    assert_eq!(found.warnings, []);
    assert_eq!(
        sent(html),
        "<a href=\"https://t.example/r/1\">Unsubscribe</a>\
        <a href=\"https://t.example/r/2\">In the browser</a>"
    );
    for text in [
        "Unsubscribe",
        "Vom Newsletter abmelden",
        "Se <b>désabonner</b>",
    ] {
        let html = format!("<a href=\"https://x.example/out\">{text}</a>");
        assert_eq!(codes(&html), ["unsubscribe"], "{text}");
    }
    let nothing = compiled(Some("<p>x"), None).warnings;
    assert_eq!(nothing[0].code, "no_unsubscribe");
    for known in [
        "<a href=\"*|UNSUB|*\">x</a>",
        "<a data-sillage=off href=\"https://x.example/unsubscribe\">x</a>",
    ] {
        let warnings = compiled(Some(known), None).warnings;
        assert!(
            warnings
                .iter()
                .all(|warning| warning.code != "no_unsubscribe")
        );
    }
    assert_eq!(
        codes("<a data-sillage-kind=\"way\" href=\"https://x.example/\">"),
        ["attribute"]
    );
}

#[test]
fn the_messages_own_way_out_is_never_tracked() {
    let html = "<a href=\"{{unsubscribe_url}}\">Abmelden</a><a href={{unsubscribe_url}}>x</a>";
    let found = compiled(Some(html), None);
    assert_eq!((found.links.len(), &found.warnings), (0, &Vec::new()));
    assert_eq!(
        sent(html),
        "<a href=\"https://t.example/u/m\">Abmelden</a><a href=\"https://t.example/u/m\">x</a>"
    );
    assert_eq!(
        sent_text("Out: {{unsubscribe_url}}."),
        "Out: https://t.example/u/m."
    );
}

#[test]
fn a_link_that_shows_an_address_is_warned_of() {
    for text in [
        "https://x.example/a",
        "www.x.example",
        "shop.example",
        "<b>shop</b>.example/a",
        "HTTP://X",
    ] {
        let html = format!("<a href=\"https://x.example/\">{text}</a>");
        assert_eq!(codes(&html), ["visible_url"], "{text}");
        assert_eq!(
            sent(&html),
            format!("<a href=\"https://t.example/r/1\">{text}</a>")
        );
    }
    for text in ["Read more.", "e.g. this", "3.50", "Ada.", "a@b c.de", "…"] {
        let html = format!("<a href=\"https://x.example/\">{text}</a>");
        assert_eq!(codes(&html).len(), 0, "{text}");
    }
}

#[test]
fn addresses_are_resolved_as_browsers_do() {
    let html = "<base href=\"https://x.example/dir/\"><a href=\"page?a=1\">1</a><A HREF=/top>2</A>\
        <a href='//cdn.example/x'>3</a><AREA HREF=https://y.example/?a=b&c shape=rect>\
        <a hReF=\"https://z.example/\" href=\"https://no.example/\">5</a>";
    assert_eq!(
        urls(html),
        [
            "https://x.example/dir/page?a=1",
            "https://x.example/top",
            "https://cdn.example/x",
            "https://y.example/?a=b&c",
            "https://z.example/",
        ]
    );
    assert_eq!(
        sent(html),
        "<base href=\"https://x.example/dir/\"><a href=\"https://t.example/r/1\">1</a>\
        <A HREF=\"https://t.example/r/2\">2</A><a href='https://t.example/r/3'>3</a>\
        <AREA HREF=\"https://t.example/r/4\" shape=rect>\
        <a hReF=\"https://t.example/r/5\" href=\"https://no.example/\">5</a>"
    );
    let relative = "<a href=\"page.html\">x</a><a href=\"www.x.example\">y</a>";
    assert_eq!(codes(relative), ["relative", "relative"]);
    assert_eq!(sent(relative), relative);
}

#[test]
fn the_open_pixel_is_put_before_the_bodys_end() {
    for (html, expected) in [
        ("<body>x</body></html>", "<body>x|</body></html>"),
        ("<BODY>x</BODY >\n", "<BODY>x|</BODY >\n"),
        ("<body>x</html>", "<body>x|</html>"),
        ("<p>x", "<p>x|"),
        ("", "|"),
        ("<!-- </body> --><p>x", "<!-- </body> --><p>x|"),
        (
            "<script>'</body>'</script>x</body>",
            "<script>'</body>'</script>x|</body>",
        ),
        ("<body>x</body>y</body>", "<body>x</body>y|</body>"),
        (
            "<!--[if mso]></body><![endif]--></body>",
            "<!--[if mso]></body><![endif]-->|</body>",
        ),
        // Cut off: what stood behind it would become a part of it.
        ("<p>x</p><a hre", "<p>x</p>|<a hre"),
        ("<p>x</p><a title=\"a>b", "<p>x</p>|<a title=\"a>b"),
        ("<p>x</p ", "<p>x|</p "),
        ("<p>1 < 2", "<p>1 < 2|"),
        ("x<br title='a>b", "x|<br title='a>b"),
    ] {
        let written = written(Part::Html, html, &compiled(Some(html), None));
        assert_eq!(written.replace(PIXEL, "|"), expected);
    }
}

#[test]
fn no_character_of_an_address_is_too_strange() {
    for (href, url) in [
        (
            "https://x.example/[a]?b[]=1&amp;b[]=2",
            "https://x.example/[a]?b[]=1&b[]=2",
        ),
        ("https://x.example/a b|c", "https://x.example/a%20b|c"),
        (
            "https://bücher.example/straße?q=ä",
            "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%A4",
        ),
        (
            "https://x.example/🎁?🎈=🎉#🎊",
            "https://x.example/%F0%9F%8E%81?%F0%9F%8E%88=%F0%9F%8E%89#%F0%9F%8E%8A",
        ),
        (
            "https://x.example/a(b)c,d;e'f~g!*",
            "https://x.example/a(b)c,d;e'f~g!*",
        ),
        ("\n https://x.example/a\n b ", "https://x.example/a%20b"),
    ] {
        let html = format!("<a href=\"{href}\">x</a>");
        assert_eq!(urls(&html), [url]);
        assert_eq!(sent(&html), "<a href=\"https://t.example/r/1\">x</a>");
    }
}

#[test]
fn a_value_that_would_choose_the_host_is_refused_with_its_line() {
    let why = refusal("<p>\n<a href=\"https://{{host}}/\">x</a>\n<a href=\"{{page}}\">");
    assert!(
        why.starts_with("html is refused: line 2: \"https://{{host}}/\""),
        "{why}"
    );
    assert!(
        why.contains("line 3: \"{{page}}\"") && why.contains("personal_hosts"),
        "{why}"
    );
    let left_out = "<a data-sillage=off href=\"https://{{host}}/\">x</a>";
    assert_eq!(sent(left_out), "<a href=\"https:///\">x</a>");
    let hosts = [HostPattern::parse("*.shop.example").unwrap()];
    let rules = Rules {
        personal_hosts: &hosts,
        own_urls: &[],
    };
    let listed = source(Some("<a href=\"https://{{host}}.shop.example/\">"), None);
    assert_eq!(
        compile(&listed, &rules).unwrap().links[0].url,
        "https://{p1}.shop.example/"
    );
}

#[test]
fn an_address_in_a_text_ends_where_people_see_it_end() {
    for (text, expected) in [
        ("See https://x.example/a.", "See |."),
        ("(https://x.example/a)", "(|)"),
        ("<https://x.example/a>", "<|>"),
        ("https://x.example/a_(b) c", "| c"),
        ("https://x.example/a, https://x.example/b!", "|, |!"),
        ("\"https://x.example/a\"", "\"|\""),
        ("*https://x.example/a*", "*|*"),
        ("https://x.example/ä/🎁\r\nx", "|\r\nx"),
        (
            "https://x.example/?a=[1]&b={{name}}: x",
            "|?p1=Ada%20%26%20%3CBob%3E%20%22x%22%20%27y%27: x",
        ),
        (
            "a mailto:a@x.example ftp://x.example www.x.example a@x.example",
            "a mailto:a@x.example ftp://x.example www.x.example a@x.example",
        ),
        ("HTTPS://X.EXAMPLE/a", "|"),
    ] {
        let mut sent = sent_text(text);
        for number in ["1", "2"] {
            sent = sent.replace(&format!("https://t.example/r/{number}"), "|");
        }
        assert_eq!(sent, expected);
    }
    let error = compile(
        &source(None, Some("a\nhttps://{{host}}/x")),
        &Rules::default(),
    );
    let why = error.unwrap_err().to_string();
    assert!(why.starts_with("text is refused: line 2"), "{why}");
}

#[test]
fn what_is_tracked_already_is_not_tracked_again() {
    let html = "<a href=\"https://t.example/r/autumn\">x</a>";
    assert_eq!(sent(html), html);
    assert_eq!(codes(html), ["own_link"]);
}

#[test]
fn broken_and_hostile_content_is_told_in_words() {
    for (html, part) in [
        ("<p>\n\0", "html contains a zero byte in line 2"),
        (&"<b>".repeat(200_000), "html nests its elements too deep"),
        (
            &"<a href=\"https://x.example/\">x</a>".repeat(1_001),
            "html brings the links to 1001",
        ),
        (&"x".repeat(MOST_BYTES + 1), "html is 10485761 bytes long"),
    ] {
        let why = refusal(html);
        assert!(why.starts_with(part), "{why}");
    }
    let nothing = compile(&Source::default(), &Rules::default())
        .unwrap_err()
        .to_string();
    assert!(nothing.contains("give at least one"), "{nothing}");
    assert_eq!(codes("<meta charset=\"iso-8859-1\">"), ["charset"]);
    assert_eq!(
        codes("<meta http-equiv=x content=\"text/html; charset=Windows-1252\">"),
        ["charset"]
    );
    assert_eq!(codes("<meta charset=UTF-8><p>caf\u{fffd}"), ["encoding"]);
    for broken in [
        "<a href=\"https://x.example/",
        "<a href=",
        "<",
        "<!--",
        "<!--[if mso]>",
        "</",
        "<a href='https://x.example/'",
    ] {
        assert_eq!(sent(broken), broken, "what is no tag yet is text");
    }
}

/// In time that grows with their length: the same goes for ten.
#[test]
fn a_megabyte_of_anything_is_read_in_a_moment() {
    let nested = "<b>".repeat(4_000);
    for (start, piece) in [
        ("", "<td><a href=\"#x\">{{name}}</a></td>"),
        ("", "<br>"),
        ("", "</x>"),
        (&nested, "</x>"),
        ("", "<!--[if mso]>"),
        ("", "{{"),
        ("", "*|"),
        ("", "%%"),
        ("", "<p a b c d e f g>"),
        ("", "https://x.example/"),
    ] {
        let html = format!("{start}{}", piece.repeat((1 << 20) / piece.len()));
        let _ = compile(&source(Some(&html), Some(&html)), &Rules::default());
    }
}

/// Pieces that are likely to mean something to one another.
fn pieces() -> impl Strategy<Value = String> {
    let pieces = vec![
        "<a href=\"https://x.example/?a=1&amp;b={{name}}\">",
        "<a href=https://y.example/>",
        "</a>",
        "<!--[if mso]>",
        "<v:rect href='https://x.example/'>",
        "<![endif]-->",
        "<!-->",
        "-->",
        "<noscript>",
        "</noscript>",
        "<script>",
        "</script>",
        "<style>",
        "</style>",
        "{{name}}",
        "{{",
        "}}",
        "*|A|*",
        "%%a%%",
        "<p title={{name}}>",
        "<img src=\"{{page}}\" alt='{{name}}'>",
        " data-sillage=off",
        " data-sillage-kind=\"optout\"",
        ">",
        "<",
        "\"",
        "'",
        "=",
        " ",
        "\n",
        "</body>",
        "<base href=\"https://b.example/\">",
        "<a data-sillage=off href=\"z\">",
        "text",
        "ä🎁",
        "&amp;",
        "https://x.example/a.",
        "<![CDATA[",
        "]]>",
        "<?xml ?>",
        "<svg>",
        "<title>",
        "</title>",
        "<textarea>",
        "<select><xmp>",
        "<!doctype html>",
        "</",
        "<a href",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..25).prop_map(|all| all.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// All that is not edited is there, in its order, and what is edited is what it should be.
    #[test]
    fn bytes_that_are_not_touched_stay(html in pieces()) {
        let own = ["https://t.example/r".to_owned()];
        let rules = Rules { personal_hosts: &[], own_urls: &own };
        for part in [Part::Html, Part::Text] {
            let source = match part {
                Part::Html => source(Some(&html), None),
                Part::Text => source(None, Some(&html)),
            };
            let Ok(compiled) = compile(&source, &rules) else { continue };
            let edits = match part { Part::Html => &compiled.html, Part::Text => &compiled.text };
            let mut rest = &*written(part, &html, &compiled);
            let mut at = 0;
            for edit in edits {
                prop_assert!(edit.start >= at && edit.end >= edit.start);
                let kept = html.get(at..edit.start);
                prop_assert!(kept.is_some());
                let found = rest.find(kept.unwrap());
                prop_assert!(found.is_some(), "{:?}", kept);
                rest = &rest[found.unwrap() + kept.unwrap().len()..];
                at = edit.end;
            }
            prop_assert!(rest.ends_with(&html[at..]));
            let used: std::collections::BTreeSet<usize> = edits
                .iter()
                .filter_map(|edit| match edit.put { Put::Link { link, .. } => Some(link), _ => None })
                .collect();
            prop_assert!(used.into_iter().eq(0..compiled.links.len()), "each link has its place");
        }
    }

    /// What has been written has no more work in it: our own links are not tracked again.
    #[test]
    fn a_written_mail_is_read_and_left_as_it_is(html in pieces()) {
        let own = ["https://t.example/r".to_owned()];
        let rules = Rules { personal_hosts: &[], own_urls: &own };
        // What is left out would be tracked by who does not know that; the pixel ends a drawing.
        let html = html.replace("data-sillage=off", "").replace("<svg>", "");
        let Ok(first) = compile(&source(Some(&html), None), &rules) else { return Ok(()) };
        let once = written(Part::Html, &html, &first);
        let Ok(second) = compile(&source(Some(&once), None), &rules) else { return Ok(()) };
        prop_assert_eq!(second.links.len(), 0, "{}", once);
        let again = compile(&source(Some(&html), None), &rules).unwrap();
        prop_assert_eq!(first, again);
    }

    #[test]
    fn no_content_panics(html in "\\PC{0,80}", text in "(\\PC|[{}*|%<>/:.]|https://){0,80}") {
        let _ = compile(&source(Some(&html), Some(&text)), &Rules::default());
    }

    #[test]
    fn no_value_leaves_its_place(value in "(\\PC|[\"'<>&{}/?#@:.\\\\]){0,30}") {
        let html = "<p title=\"{{v}}\">{{v}}</p><a href=\"https://x.example/{{v}}?a={{v}}\">x</a>\
            <img src=\"https://i.example/a/{{v}}?b={{v}}#{{v}}\"><img src=\"{{v}}\"><i t='{{v}}'>";
        let compiled = compiled(Some(html), None);
        let template = Template::new(Part::Html, html, &compiled.html, &["v".to_owned()], ADDRESSES);
        let write = |value: &str| {
            let mut json = "\"".to_owned();
            let values = [value.to_owned()];
            template.write(&Letter { links: &["1"], message: "m", values: &values }, &mut json);
            json.push('"');
            serde_json::from_str::<String>(&json).unwrap()
        };
        let shape = |html: &str| {
            let signs: String = html.chars().filter(|c| "<>\"'".contains(*c)).collect();
            signs
        };
        prop_assert_eq!(shape(&write(&value)), shape(&write("x")));
    }
}
