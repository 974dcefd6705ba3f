//! A form for its page: as a script that writes it there, as a page of its own, or as a part that a
//! script fetches. Source: Mautic's `PublicController` (`generateAction`, `previewAction`,
//! `embedAction`).

use std::collections::BTreeMap;

use http::header::ACCEPT_LANGUAGE;
use http::{Method, StatusCode};

use super::answer::{self, Said};
use super::markup::Markup;
use super::reply::{ENDED, permit, readers};
use super::words;
use crate::model::escape::{html, script_string};
use crate::model::form::{Form, FormId};
use crate::tracking::decoded::{Decoded, Reply, Runs};
use crate::tracking::inbound::Inbound;
use crate::tracking::route::{FORM, FORM_SCRIPT, PREFIXES};

/// Maximum number of values that a page's URL fills in.
const MOST_GIVEN: usize = 200;

/// How a form is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// `/form/generate.js?id=3`: a script that inserts the form after itself.
    Script,
    /// `/form/3`: a page, often in a frame.
    Page,
    /// `/form/embed/3`: HTML for a script to insert somewhere.
    Part,
}

impl View {
    /// What follows `/form`, and the form's number if the path has it.
    pub fn read(rest: &str) -> Option<(Self, &str)> {
        let is_number = |id: &&str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        match rest.trim_matches('/') {
            "generate.js" => Some((Self::Script, "")),
            "" => Some((Self::Page, "")),
            rest => match rest.strip_prefix("embed/") {
                Some(id) => Some((Self::Part, id)),
                None => Some((Self::Page, rest)),
            }
            .filter(|(_, id)| is_number(id)),
        }
    }
}

/// The form that a URL names: in its path, else as `id` in its query.
pub fn viewed(rest: &str, query: &str) -> Option<FormId> {
    let id = match rest {
        "" => form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "id")
            .map(|(_, id)| id.into_owned())?,
        rest => rest.to_owned(),
    };
    id.trim().parse().ok().map(FormId)
}

/// Shows a form.
pub fn show(inbound: &Inbound<'_>, view: View, form: Option<(FormId, &Form)>) -> Decoded {
    let Some((id, form)) = form else {
        return Decoded::refused(Reply::NoPage(None), "form unknown");
    };
    if *inbound.method == Method::OPTIONS {
        return permit(inbound, Some(form));
    }
    if form.ended_at.is_some() {
        return show_end(inbound, view, form);
    }
    let accepted = inbound.header(ACCEPT_LANGUAGE);
    let words = words::of(accepted.as_deref().unwrap_or_default());
    let prefix = prefix(inbound.target);
    // A page of this server's works under whatever name it was asked.
    let base = match view {
        View::Page => prefix,
        View::Script | View::Part => format!("{}{prefix}", inbound.site.base_url),
    };
    // What a script writes is the same for every reader of its page.
    let given = match view {
        View::Script => BTreeMap::new(),
        View::Page | View::Part => given(inbound, form),
    };
    let markup = Markup {
        id,
        form,
        base: &base,
        words,
        given: &given,
    };
    let reply = match view {
        View::Script => Reply::Script(script(&markup)),
        View::Page => Reply::Page {
            status: StatusCode::OK,
            html: page(&markup),
            runs: Runs::OwnFiles,
        },
        View::Part => Reply::Part(markup.html(), readers(inbound, Some(form))),
    };
    Decoded::of(reply, Vec::new())
}

/// Shows that a form has ended: the page that it has for this, or a sentence.
fn show_end(inbound: &Inbound<'_>, view: View, form: &Form) -> Decoded {
    let sentence = format!("<p class=\"mauticform-ended\">{ENDED}</p>");
    let reply = match (view, &form.end_url) {
        (View::Page, Some(url)) => Reply::Redirect(url.clone()),
        (View::Page, None) => Reply::Page {
            status: StatusCode::GONE,
            html: answer::message_page(form, Said::Ended(ENDED)),
            runs: Runs::Nothing,
        },
        (View::Script, _) => Reply::Script(format!(
            "(function (d) {{\nvar html = {}, at = d.currentScript;\n\
             if (at && at.parentNode) at.insertAdjacentHTML('afterend', html);\n\
             else d.write(html);\n}})(document);\n",
            script_string(&sentence)
        )),
        (View::Part, _) => Reply::Part(sentence, readers(inbound, Some(form))),
    };
    Decoded::of(reply, Vec::new())
}

/// What preceded `/form` in a URL: nothing, or the path of a Mautic installation.
fn prefix(target: &str) -> String {
    let path = target.split(['?', '&']).next().unwrap_or_default();
    let before = path.rfind(FORM).map_or("", |at| &path[..at]);
    let mut rest = before;
    while let Some(behind) = PREFIXES.iter().find_map(|name| rest.strip_prefix(name)) {
        rest = behind;
    }
    match rest {
        "" => before.to_owned(),
        _ => String::new(),
    }
}

/// Values that a URL fills in, by the fields' aliases.
fn given(inbound: &Inbound<'_>, form: &Form) -> BTreeMap<String, Vec<String>> {
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in inbound.query_pairs().take(MOST_GIVEN) {
        let name = name.strip_suffix("[]").unwrap_or(&name);
        if form.fields.iter().any(|field| field.alias == name) {
            given
                .entry(name.to_owned())
                .or_default()
                .push(value.into_owned());
        }
    }
    given
}

/// The script that writes a form behind itself and sees to it that it works. Sites whose
/// `Content-Security-Policy` allows no styles in the page get what has to be hidden hidden all the
/// same.
fn script(markup: &Markup<'_>) -> String {
    let html = script_string(&markup.html());
    let form_script = script_string(&format!("{}{FORM_SCRIPT}", markup.base));
    let base = script_string(markup.base);
    let wait = script_string(markup.words.wait);
    format!(
        "(function (w, d) {{\n\
         var html = {html}, at = d.currentScript, box, script;\n\
         if (at && at.parentNode) {{\n\
         at.insertAdjacentHTML('afterend', html);\n\
         box = at.nextElementSibling;\n\
         [].forEach.call(box.querySelectorAll('.mauticform-errormsg,.mauticform-honeypot'), \
         function (e) {{ e.style.display = 'none'; }});\n\
         }} else d.write(html);\n\
         w.MauticDomain = w.MauticDomain || {base};\n\
         w.MauticLang = w.MauticLang || {{}};\n\
         w.MauticLang.submittingMessage = w.MauticLang.submittingMessage || {wait};\n\
         if (w.MauticSDK) w.MauticSDK.onLoad();\n\
         else if (!w.MauticSDKLoaded) {{\n\
         w.MauticSDKLoaded = true;\n\
         script = d.createElement('script');\n\
         script.src = {form_script};\n\
         script.onload = function () {{ w.MauticSDK.onLoad(); }};\n\
         d.head.appendChild(script);\n\
         }}\n\
         }})(window, document);\n"
    )
}

/// A page with the form and nothing else.
fn page(markup: &Markup<'_>) -> String {
    let (language, title) = (markup.words.language, html(&markup.form.name));
    let (form, script) = (
        markup.html(),
        html(&format!("{}{FORM_SCRIPT}", markup.base)),
    );
    format!(
        "<!doctype html><html lang=\"{language}\"><head><meta charset=\"utf-8\"><meta \
        name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
        <style>body{{font:1rem/1.5 system-ui,sans-serif;margin:0;padding:1rem}}</style></head>\
        <body>{form}<script src=\"{script}\"></script></body></html>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_named_by_a_number_in_its_path_or_query() {
        for (rest, query, id) in [
            ("3", "id=4", Some(3)),
            ("", "a=1&id=+4+", Some(4)),
            ("", "id=mf-4", None),
            ("", "", None),
            ("99999999999999999999", "", None),
        ] {
            assert_eq!(viewed(rest, query), id.map(FormId), "{rest} {query}");
        }
    }

    #[test]
    fn only_what_mautics_installations_have_there_stands_before_an_address() {
        for (target, before) in [
            ("/form/3", ""),
            ("/form/embed/3?x=/mautic/form/1", ""),
            ("/index.php/form/3?a=b", "/index.php"),
            (
                "/mautic/index.php/form/generate.js?id=3",
                "/mautic/index.php",
            ),
            ("//form/3", ""),
            ("//evil.example/form/3", ""),
            ("/mautic//evil.example/form/3", ""),
            ("/%6dautic/form/3", ""),
            ("/%66orm/3", ""),
        ] {
            assert_eq!(prefix(target), before, "{target}");
        }
    }
}
