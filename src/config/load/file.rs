//! A file's values, each with its line.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use toml_edit::{ImDocument, TableLike};

use super::{Given, Place};

/// The values of a file, with their lines.
pub(super) fn read_file(path: &Path) -> Result<Vec<Given>, String> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => format!("{file}: is not valid UTF-8"),
        _ => format!("{file}: cannot be read: {error}"),
    })?;
    let line_at = |at: usize| {
        text.get(..at)
            .map_or(1, |before| before.matches('\n').count() + 1)
    };
    let document = ImDocument::parse(text.as_str()).map_err(|error| {
        // Not the line itself: it may hold a password.
        let line = error.span().map_or(1, |span| line_at(span.start));
        let why = error.message().trim().replace('\n', ", ");
        format!("{file}:{line}: is not valid TOML: {why}; the rest of the file was not checked")
    })?;
    let dict =
        <Toml as Format>::from_str::<Dict>(&text).map_err(|error| format!("{file}: {error}"))?;
    let mut lines = Lines::default();
    note_lines(document.as_table(), "", &line_at, &mut lines);
    let mut found = Vec::new();
    leaves(dict, "", &mut |key, value| {
        let (line, items) = lines.get(&key).cloned().unwrap_or((1, Vec::new()));
        let place = Place::File(file.clone(), line, items);
        found.push(Given { key, place, value });
    });
    found.sort_by_key(|given| match &given.place {
        Place::File(_, line, _) => *line,
        Place::Name(_) => 0,
    });
    Ok(found)
}

/// The line of each key, and the lines of the items of its list.
type Lines = BTreeMap<String, (usize, Vec<usize>)>;

fn note_lines(
    table: &dyn TableLike,
    prefix: &str,
    line_at: &impl Fn(usize) -> usize,
    lines: &mut Lines,
) {
    for (name, item) in table.iter() {
        let key = join(prefix, name);
        let span = table
            .get_key_value(name)
            .and_then(|(key, item)| key.span().or(item.span()));
        let line = span.map_or(1, |span| line_at(span.start));
        let items = item.as_array().into_iter().flatten();
        let items = items.filter_map(|value| Some(line_at(value.span()?.start)));
        lines.insert(key.clone(), (line, items.collect()));
        if let Some(inner) = item.as_table_like() {
            note_lines(inner, &key, line_at, lines);
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn leaves(dict: Dict, prefix: &str, each: &mut impl FnMut(String, Value)) {
    for (name, value) in dict {
        let key = join(prefix, &name);
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => leaves(inner, &key, each),
            value => each(key, value),
        }
    }
}
