//! The frame of a small page for a reader.

/// A page of HTML around `body`. All three are HTML, escaped by the caller.
pub(super) fn html_page(language: &str, title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"{language}\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
        content=\"width=device-width\"><title>{title}</title>\
        <style>body{{font:1.1rem/1.5 system-ui;margin:15vh auto;max-width:30rem;padding:0 1rem}}\
        button{{font:inherit;padding:.6rem 1.2rem;border:1px solid;border-radius:.4rem;\
        cursor:pointer}}</style>{body}</html>"
    )
}
