//! Every row of a protocol's tables is proved by the cases that it names, every case proves rows
//! that there are, and every recording is replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{CaseFile, root};

/// A row of a table of `PROTOCOL.md`.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    fact: String,
    /// Files that are named beside it.
    cases: Vec<String>,
}

/// Rows of the tables whose head is `| row | cases |`. What Markdown would read otherwise stands
/// behind a backslash.
fn rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut is_within = false;
    for line in page.lines() {
        if !line.starts_with('|') {
            is_within = false;
        } else if line == "| row | cases |" {
            is_within = true;
        } else if is_within && line != "|---|---|" {
            let cells = line
                .strip_prefix("| ")
                .and_then(|line| line.strip_suffix(" |"));
            let (fact, cases) = cells
                .and_then(|cells| cells.rsplit_once(" |"))
                .unwrap_or((line, ""));
            let links = cases.split("](").skip(1);
            rows.push(Row {
                fact: fact.replace('\\', ""),
                cases: links
                    .map(|link| link.split(')').next().unwrap().to_owned())
                    .collect(),
            });
        }
    }
    rows
}

/// What is wrong with a dialect's rows.
fn differences(rows: &[Row], proved: &BTreeMap<String, Vec<&str>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for Row { fact, cases } in rows {
        if !known.insert(fact.as_str()) {
            wrong.push(format!("the row stands twice: {fact}"));
        }
        if cases.is_empty() {
            wrong.push(format!("the row names no case: {fact}"));
        }
        for case in cases {
            let proves = proved
                .get(case)
                .is_some_and(|rows| rows.contains(&fact.as_str()));
            if !proves {
                wrong.push(format!("{case} does not prove: {fact}"));
            }
        }
    }
    for (file, rows) in proved {
        for row in rows.iter().filter(|row| !known.contains(*row)) {
            wrong.push(format!("{file} proves what is no row: {row}"));
        }
    }
    wrong
}

fn unused_recordings(dir: &Path, cases: &[CaseFile]) -> Vec<String> {
    let used: BTreeSet<&str> = cases
        .iter()
        .flat_map(|file| &file.case.steps)
        .filter_map(|step| step.raw.as_deref())
        .collect();
    super::files(dir, "http")
        .into_iter()
        .filter(|name| !used.contains(name.as_str()))
        .map(|name| format!("no case replays {name}"))
        .collect()
}

#[test]
fn every_row_of_the_protocol_tables_has_a_case() {
    let mut wrong = Vec::new();
    for dialect in super::DIALECTS {
        let dir = root().join(dialect);
        let (cases, _) = super::load(dialect);
        let mut of_dialect = unused_recordings(&dir, &cases);
        let rows = rows(&std::fs::read_to_string(dir.join("PROTOCOL.md")).unwrap());
        assert!(rows.len() > 20, "{dialect}: {}", rows.len());
        let proved = cases
            .iter()
            .map(|file| {
                let rows = file.case.proves.iter().map(String::as_str).collect();
                (file.name.clone(), rows)
            })
            .collect();
        of_dialect.extend(differences(&rows, &proved));
        wrong.extend(of_dialect.iter().map(|line| format!("{dialect}: {line}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rows_without_a_case_and_cases_without_a_row_are_told() {
    let page = "\
        # Facts\n\n| parameter | meaning |\n|---|---|\n| `a` | no row |\n\n\
        | row | cases |\n|---|---|\n\
        | one \\| \\<two> | [a](a.json), [b](b.json) |\n| two | |\n| two | [a](a.json) |\n\n\
        | other | [a](a.json) |\n";
    let rows = rows(page);
    let facts: Vec<&str> = rows.iter().map(|row| row.fact.as_str()).collect();
    assert_eq!(facts, ["one | <two>", "two", "two"]);
    assert_eq!(rows[0].cases, ["a.json", "b.json"]);
    let proved = BTreeMap::from([
        ("a.json".to_owned(), vec!["one | <two>", "four"]),
        ("b.json".to_owned(), vec!["one | <two>"]),
    ]);
    assert_eq!(
        differences(&rows, &proved),
        [
            "the row names no case: two",
            "the row stands twice: two",
            "a.json does not prove: two",
            "a.json proves what is no row: four"
        ]
    );
    let proved = BTreeMap::from([
        ("a.json".to_owned(), vec!["one | <two>"]),
        ("b.json".to_owned(), vec!["one | <two>"]),
    ]);
    assert_eq!(
        differences(&rows[..1], &proved),
        [""; 0],
        "all is as it should be"
    );
}
