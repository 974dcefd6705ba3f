//! Every row of a protocol's tables is proved by a case, every case proves rows that there are, and
//! every recording is replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{CaseFile, root};

/// What is wrong with a dialect's rows.
fn differences(rows: &str, proved: &BTreeMap<String, Vec<&str>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    let lines = rows.lines().map(str::trim);
    for row in lines.filter(|row| !row.is_empty() && !row.starts_with('#')) {
        if !known.insert(row) {
            wrong.push(format!("the row stands twice: {row}"));
        }
    }
    let of_cases: BTreeSet<&str> = proved.values().flatten().copied().collect();
    for row in known.difference(&of_cases) {
        wrong.push(format!("no case proves: {row}"));
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
        if let Ok(rows) = std::fs::read_to_string(dir.join("rows.txt")) {
            let proved = cases
                .iter()
                .map(|file| {
                    let rows = file.case.proves.iter().map(String::as_str).collect();
                    (file.name.clone(), rows)
                })
                .collect();
            of_dialect.extend(differences(&rows, &proved));
        }
        wrong.extend(of_dialect.iter().map(|line| format!("{dialect}: {line}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rows_without_a_case_and_cases_without_a_row_are_told() {
    let proved = BTreeMap::from([("a.json".to_owned(), vec!["one", "four"])]);
    assert_eq!(
        differences("# the tables\none\n\n two\ntwo\n", &proved),
        [
            "the row stands twice: two",
            "no case proves: two",
            "a.json proves what is no row: four"
        ]
    );
    assert_eq!(
        differences("one\nfour", &proved),
        [""; 0],
        "all is as it should be"
    );
}
