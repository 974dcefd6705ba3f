//! Forms of this server on somebody's pages: written there by `/form/generate.js`, filled in and
//! sent as people do.

use serde_json::{Value, json};

use super::chrome::Browser;
use super::site::Site;
use super::{DRAINED, column, only, requests, start};
use crate::harness::{Engine, TestServer, on_both};

/// A form whose texts try to be markup and scripts.
fn newsletter(host: &str) -> Value {
    json!({
        "id": 3, "name": "Newsletter",
        "fields": [
            { "alias": "email", "label": "E-mail", "type": "email", "required": true, "contact_field": "email" },
            { "alias": "firstname", "label": "\"></label><img src=x onerror=\"hurt=1\"></script><script>hurt=1</script>", "contact_field": "firstname" },
            { "alias": "message", "label": "Message", "type": "textarea", "required": true },
            { "alias": "topics", "label": "Topics", "type": "checkbox", "options": ["lamps", "chairs", "\"><b>&"] },
            { "alias": "size", "label": "Size", "type": "radio", "options": ["M", "L"] },
            { "alias": "city", "label": "City", "type": "select", "placeholder": "Where?", "options": ["Basel", { "value": "cgn", "label": "K\u{f6}ln <img>" }] },
            { "alias": "source", "type": "hidden", "default": "\"><img src=x>" },
            { "alias": "age", "label": "Age", "type": "number" },
            { "alias": "website", "label": "Leave this empty", "type": "honeypot" },
        ],
        "allowed_hosts": [host], "success_message": "Thank you, see you <b>soon</b>.",
    })
}

async fn make(server: &TestServer, form: &Value) {
    let mut api = server.client().admin();
    let made = api.post_json("/api/v1/forms", form).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

/// A page of a site with the form, and with functions of its own that are told what happens.
fn put_page(site: &Site, server: &TestServer) {
    let events = "['onValidateStart','onValidateEnd','onErrorMark','onErrorClear','onResponseStart','onResponseEnd','onMessageSet','onSubmitButtonDisable','onSubmitButtonEnable']";
    let body = format!(
        "<h1>Letters</h1><script>MauticFormCallback={{newsletter:{{}}}};\
         {events}.forEach(function(e){{MauticFormCallback.newsletter[e]=function(){{told.push(e)}}}});\
         </script><script src=\"{}/form/generate.js?id=3\"></script><p>Below</p>",
        server.url()
    );
    site.page("/letters", &server.url(), 0, "", &body);
}

const READY: &str = "window.MauticSDK && document.getElementById('mauticiframe_newsletter')";
const SEND: &str = "#mauticform_newsletter button";
const SHOWN: &str = "[].filter.call(document.querySelectorAll('.mauticform-errormsg'), function (e) \
    { return e.offsetParent }).map(function (e) { return e.parentNode.id })";

async fn fill(browser: &Browser, field: &str, text: &str) {
    let text = json!(text);
    let script = format!(
        "document.querySelector('#mauticform_newsletter [name=\"mauticform[{field}]\"]').value = {text}"
    );
    browser.run(&script).await;
}

async fn a_form_by_script_is_filled_in_sent_and_stored(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    make(&server, &newsletter("127.0.0.1")).await;
    put_page(&site, &server);
    let browser = Browser::start().await;
    let page = format!("{}/letters", site.near());
    browser.open(&page).await;
    browser.wait_until(READY).await;
    browser.picture("form-by-script").await;
    let seen = browser
        .run(
            "var box = document.getElementById('mauticform_wrapper_newsletter'); \
             return [box.previousElementSibling.nodeName, box.nextElementSibling.textContent, \
             document.getElementById('mauticform_newsletter_website').offsetParent === null, \
             box.querySelectorAll('img, b, script').length, window.hurt === undefined]",
        )
        .await;
    assert_eq!(seen, json!(["SCRIPT", "Below", true, 0, true]));

    // What has to be filled in is asked for in the page; nothing is sent.
    fill(&browser, "email", "ada@forms.example").await;
    browser.click(SEND).await;
    assert_eq!(
        browser.run(&format!("return {SHOWN}")).await,
        json!(["mauticform_newsletter_message"])
    );
    browser.picture("form-refused-in-the-page").await;
    assert_eq!(requests(&server, "POST"), 1, "the form's making");
    let told = browser.run("return told").await;
    assert_eq!(
        told,
        json!([
            "onSubmitButtonDisable",
            "onValidateStart",
            "onMessageSet",
            "onMessageSet",
            "onErrorClear",
            "onErrorMark",
            "onValidateEnd",
            "onSubmitButtonEnable"
        ])
    );

    fill(&browser, "firstname", "Ada").await;
    fill(&browser, "message", "Two lamps,\nplease").await;
    browser.click("input[value=lamps]").await;
    browser.click("input[value=\"\\\"><b>&\"]").await;
    browser.click("input[value=L]").await;
    fill(&browser, "city", "cgn").await;
    browser.click(SEND).await;
    let message = "document.getElementById('mauticform_newsletter_message')";
    browser
        .wait_until(&format!("/see you/.test({message}.textContent)"))
        .await;
    browser.picture("form-sent").await;
    let seen = browser
        .run(&format!(
            "return [{message}.innerHTML, {SHOWN}, document.querySelector('{SEND}').disabled, \
             document.querySelector('[name=\"mauticform[email]\"]').value, location.href, \
             /post-success/.test(document.getElementById('mauticform_wrapper_newsletter').className)]"
        ))
        .await;
    assert_eq!(
        seen,
        json!(["Thank you, see you <b>soon</b>.", [], false, "", page, true])
    );
    server.wait_drained(DRAINED).await;
    let db = server.db();
    assert_eq!(only(db, "kind").await, "form");
    assert_eq!(only(db, "page_url").await, page);
    let extra: Value = serde_json::from_str(&only(db, "extra").await).unwrap();
    assert_eq!(
        extra,
        json!({
            "form_id": "3", "email": "ada@forms.example", "firstname": "Ada",
            "message": "Two lamps,\nplease", "topics": "lamps, \"><b>&", "size": "L",
            "city": "cgn", "source": "\"><img src=x>",
        })
    );
    let known = "select count(*) from hits where contact_id is not null and verdict = 'human'";
    assert_eq!(db.number(known).await, 1);
    browser.close().await;
    server.finish().await;
}

/// The answer comes through a frame, so the server's permission for scripts plays no part.
async fn a_form_works_where_the_page_may_read_nothing(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, "https://somebody.else.example").await;
    make(&server, &newsletter("localhost")).await;
    put_page(&site, &server);
    let browser = Browser::start().await;
    browser.open(&format!("{}/letters", site.far())).await;
    browser.wait_until(READY).await;
    fill(&browser, "message", "Hello").await;
    // The page takes any text for a number; the server knows better, and its word comes to the field.
    fill(&browser, "email", "ada@forms.example").await;
    fill(&browser, "age", "many").await;
    browser.click(SEND).await;
    browser
        .wait_until("told.indexOf('onResponseEnd') >= 0")
        .await;
    assert_eq!(
        browser.run(&format!("return {SHOWN}")).await,
        json!(["mauticform_newsletter_age"])
    );
    fill(&browser, "age", "36").await;
    browser.click(SEND).await;
    browser
        .wait_until("document.getElementById('mauticform_newsletter_message').textContent")
        .await;
    server.wait_drained(DRAINED).await;
    assert_eq!(column(server.db(), "kind").await, [Some("form".to_owned())]);
    assert_eq!(requests(&server, "OPTIONS"), 0);
    browser.close().await;
    server.finish().await;
}

/// A page of this server's in a frame of somebody's page, which gets none of its cookies. Its
/// address has filled a field in, and the page around it is led on.
async fn a_form_in_a_frame_leads_the_page_around_it_on(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, "https://somebody.else.example").await;
    let mut form = newsletter("shop.example");
    let thanks = format!("{}/thanks", site.far());
    form["return_url"] = json!(thanks);
    form["success_message"] = Value::Null;
    make(&server, &form).await;
    let frame = format!(
        "<iframe width=900 height=800 src=\"{}/mautic/form/3?email=ada%40forms.example&amp;size=M\">\
         </iframe>",
        server.url()
    );
    site.page("/framed", &server.url(), 0, "", &frame);
    site.page("/thanks", &server.url(), 0, "", "Thanks");
    let browser = Browser::start().await;
    browser.open(&format!("{}/framed", site.far())).await;
    browser.enter_frame().await;
    browser.wait_until(READY).await;
    fill(&browser, "message", "From a frame").await;
    browser.picture("form-in-a-frame").await;
    browser.click(SEND).await;
    browser.leave_frame().await;
    browser
        .wait_until("location.pathname == '/thanks' && document.title")
        .await;
    assert_eq!(browser.address().await, thanks);
    server.wait_drained(DRAINED).await;
    let extra: Value = serde_json::from_str(&only(server.db(), "extra").await).unwrap();
    assert_eq!(
        (&extra["email"], &extra["size"], &extra["message"]),
        (
            &json!("ada@forms.example"),
            &json!("M"),
            &json!("From a frame")
        )
    );
    browser.close().await;
    server.finish().await;
}

/// The markup of Mautic's "manual copy", with its loader, where an editor has taken the frame out;
/// and a server that is away by then.
async fn copied_markup_works_and_says_where_no_answer_comes(engine: Engine) {
    let site = Site::start().await;
    let mut server = start(engine, "https://somebody.else.example").await;
    make(&server, &newsletter("127.0.0.1")).await;
    let url = server.url();
    let body = format!(
        "<script>if (typeof MauticSDKLoaded == 'undefined') {{ var MauticSDKLoaded = true; \
         var script = document.createElement('script'); script.src = \
         '{url}/index.php/media/js/mautic-form.js?v1'; script.onload = function () {{ \
         MauticSDK.onLoad(); MauticSDK.onLoad(); }}; document.head.appendChild(script); \
         var MauticDomain = '{url}'; var MauticLang = {{'submittingMessage': 'Wait'}}; }}</script>\
         <div id=\"mauticform_wrapper_newsletter\"><form method=\"post\" \
         action=\"{url}/form/submit?formId=3\" id=\"mauticform_newsletter\" \
         data-mautic-form=\"newsletter\"><div class=\"mauticform-error\" \
         id=\"mauticform_newsletter_error\"></div><div id=\"mauticform_newsletter_message\"></div>\
         <div id=\"mauticform_newsletter_email\" data-validate=\"email\" \
         data-validation-type=\"email\" class=\"mauticform-row\"><input \
         name=\"mauticform[email]\"><span class=\"mauticform-errormsg\" \
         style=\"display:none\">Needed</span></div><input name=\"mauticform[message]\" value=\"x\">\
         <input type=\"hidden\" name=\"mauticform[return]\" id=\"mauticform_newsletter_return\">\
         <input type=\"hidden\" name=\"mauticform[formName]\" value=\"newsletter\">\
         <button class=\"mauticform-button\" name=\"mauticform[submit]\">Go</button></form></div>"
    );
    site.page("/copied", &url, 1, "", &body);
    let browser = Browser::start().await;
    browser.open(&format!("{}/copied", site.near())).await;
    browser.wait_until(READY).await;
    browser.click(SEND).await;
    assert_eq!(
        browser.run(&format!("return {SHOWN}")).await,
        json!(["mauticform_newsletter_email"])
    );
    fill(&browser, "email", "ada@forms.example").await;
    browser.click(SEND).await;
    browser
        .wait_until(
            "/soon/.test(document.getElementById('mauticform_newsletter_message').textContent)",
        )
        .await;
    server.wait_drained(DRAINED).await;
    assert_eq!(column(server.db(), "kind").await, [Some("form".to_owned())]);

    assert_eq!(server.terminate(DRAINED).await, Some(0));
    browser.run("MauticLang.failedMessage = 'No answer'").await;
    fill(&browser, "email", "ada@forms.example").await;
    browser.click(SEND).await;
    browser
        .wait_until(
            "document.getElementById('mauticform_newsletter_error').textContent == 'No answer'",
        )
        .await;
    let button = format!(
        "return [document.querySelector('{SEND}').disabled, document.querySelector('{SEND}').textContent]"
    );
    assert_eq!(browser.run(&button).await, json!([false, "Go"]));
    browser.close().await;
}

/// Forms of the old system's, or copied, have what our definitions do not: fields that depend on
/// others, and pages.
async fn fields_that_depend_on_others_and_pages_work(engine: Engine) {
    let site = Site::start().await;
    let server = start(engine, &site.near()).await;
    let url = server.url();
    let row = |alias: &str, more: &str, inner: &str| {
        format!(
            "<div id=\"mauticform_newsletter_{alias}\" class=\"mauticform-row\" {more}>{inner}\
             <span class=\"mauticform-errormsg\" style=\"display:none\">Needed</span></div>"
        )
    };
    let needed = |alias: &str| format!("data-validate=\"{alias}\" data-validation-type=\"text\"");
    let input = |alias: &str| format!("<input name=\"mauticform[{alias}]\">");
    let bar = |page: u8| {
        format!(
            "<div data-mautic-form-pagebreak={page}><button type=button \
             data-mautic-form-pagebreak-button=prev class=back>Back</button><button type=button \
             data-mautic-form-pagebreak-button=next class=next>Next</button></div>"
        )
    };
    let choice = row(
        "way",
        "",
        "<select name=\"mauticform[way]\"><option></option><option>phone</option><option>mail</option></select>",
    );
    let phone = format!(
        "{} data-mautic-form-show-on=\"way:phone|fax\"",
        needed("phone")
    );
    let body = format!(
        "<form id=\"mauticform_newsletter\" data-mautic-form=\"newsletter\" method=post \
         action=\"{url}/form/submit?formId=9\"><div class=\"mauticform-innerform\">\
         <div data-mautic-form-page=1>{choice}{}{}</div><div data-mautic-form-page=2>{}{}\
         <div><button type=submit class=\"mauticform-button\">Go</button></div></div></div></form>\
         <script src=\"{url}/media/js/mautic-form.js\"></script>",
        row("phone", &phone, &input("phone")),
        bar(1),
        row("name", &needed("name"), &input("name")),
        bar(2),
    );
    site.page("/pages", &url, 0, "", &body);
    let browser = Browser::start().await;
    browser.open(&format!("{}/pages", site.near())).await;
    browser.wait_until(READY).await;
    let seen = "return ['phone', 'name'].map(function (alias) { return \
        !!document.getElementById('mauticform_newsletter_' + alias).offsetParent })";
    assert_eq!(browser.run(seen).await, json!([false, false]));
    let choose = |way: &str| {
        format!(
            "var list = document.querySelector('select'); list.value = '{way}'; \
             list.dispatchEvent(new Event('change', {{bubbles: true}}))"
        )
    };
    browser.run(&choose("phone")).await;
    assert_eq!(browser.run(seen).await, json!([true, false]));
    browser.click(".next").await;
    let wrong = format!("return {SHOWN}");
    let asked = json!(["mauticform_newsletter_phone"]);
    assert_eq!(browser.run(&wrong).await, asked, "it stays on its page");
    browser.run(&choose("mail")).await;
    browser.click(".next").await;
    assert_eq!(browser.run(seen).await, json!([false, true]));
    browser
        .click("[data-mautic-form-pagebreak='2'] .back")
        .await;
    assert_eq!(browser.run(seen).await, json!([false, false]));
    browser.click(".next").await;
    browser.click(".mauticform-button").await;
    assert_eq!(
        browser.run(&wrong).await,
        json!(["mauticform_newsletter_name"])
    );
    assert_eq!(requests(&server, "POST"), 0);
    browser.close().await;
    server.finish().await;
}

on_both!(
    fields_that_depend_on_others_and_pages_work,
    a_form_in_a_frame_leads_the_page_around_it_on,
    copied_markup_works_and_says_where_no_answer_comes,
    a_form_by_script_is_filled_in_sent_and_stored,
    a_form_works_where_the_page_may_read_nothing,
);
