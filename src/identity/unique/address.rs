//! E-mail addresses: which fields hold them, by their names, and what is one.

use super::placeholder::is_template;

/// Whether a field holds email addresses, judged by its name. Called for every parameter with a
/// plus, so it copies nothing.
pub(crate) fn is_address_field(field: &str) -> bool {
    let backwards = || {
        let plain = |c: &char| c.is_alphabetic() || c.is_ascii_digit();
        field
            .chars()
            .rev()
            .filter(plain)
            .flat_map(char::to_lowercase)
    };
    let ends_with = |end: &str| {
        let name = backwards().skip_while(char::is_ascii_digit);
        end.chars().rev().eq(name.take(end.len()))
    };
    let is_named = ["mail", "mailaddress", "mailadresse", "mailaddr"]
        .into_iter()
        .any(ends_with);
    is_named && {
        let name: String = backwards().collect();
        // hash, md5, sha1, sha2, sha5
        !["hsah", "5dm", "1ahs", "2ahs", "5ahs"]
            .iter()
            .any(|part| name.contains(part))
    }
}

/// Whether a string is a single deliverable email address. The host may be one word, as on an
/// intranet.
pub(crate) fn is_address(value: &str) -> bool {
    let value = value.trim();
    let Some((name, host)) = value.rsplit_once('@') else {
        return false;
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "<>,;:@\"()[]{}\\|".contains(c);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    value.len() <= 254
        && !name.is_empty()
        && !name.contains(is_odd)
        && !is_template(name)
        && !name.eq_ignore_ascii_case("undefined")
        && host.split('.').all(is_label)
        // There is no such top-level domain: a page has put its words together.
        && host.rsplit('.').next().is_some_and(|top| {
            !["undefined", "null", "nan"].iter().any(|word| top.eq_ignore_ascii_case(word))
        })
}
