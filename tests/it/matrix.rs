//! The table of faults, `tests/faults.md`, compared with the tests that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows: the fault's name, and the tests as file and name.
fn table() -> Vec<(String, Vec<(PathBuf, String)>)> {
    let text = fs::read_to_string(root().join("tests/faults.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault "));
    rows.map(|row| {
        let [_, fault, tests, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("a row with another number of cells: {row}")
        };
        let tests = tests.split(';').map(|test| {
            let (file, name) = test.trim().trim_matches('`').split_once(": ").expect(row);
            let folder = if file.starts_with("src/") { "" } else { "tests/" };
            (root().join(format!("{folder}{file}")), name.to_owned())
        });
        (fault.to_owned(), tests.collect())
    })
    .collect()
}

#[test]
fn every_fault_is_named_once_and_in_words() {
    let table = table();
    let faults: BTreeSet<_> = table.iter().map(|(fault, _)| fault).collect();
    assert_eq!(faults.len(), table.len(), "a fault is listed twice");
    assert!(faults.iter().all(|fault| fault.contains(char::is_alphabetic)), "{faults:?}");
}

#[test]
fn every_test_of_the_table_is_there_and_runs() {
    for (fault, tests) in table() {
        assert!(!tests.is_empty(), "{fault} has no test");
        for (file, name) in tests {
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{fault}: {}: {error}", file.display()));
            let declared = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{fault}: there is no {name}"));
            let above = text[..declared].rfind("\n\n").map_or(&text[..declared], |start| &text[start..declared]);
            let is_test = ["#[test]", "#[rstest]", "proptest!"].iter().any(|mark| above.contains(mark));
            assert!(is_test && !above.contains("#[ignore"), "{fault}: {name} is no test that runs");
        }
    }
}

#[test]
fn the_wall_clock_is_forbidden_but_for_named_exceptions() {
    let rules = fs::read_to_string(root().join("clippy.toml")).unwrap();
    for method in ["std::time::SystemTime::now", "std::time::SystemTime::elapsed", "jiff::Timestamp::now"] {
        assert!(rules.contains(method), "{method} is allowed");
    }
    let mut exceptions = Vec::new();
    collect(&root().join("src"), &mut exceptions);
    exceptions.sort();
    let named = [
        "commands/mirror.rs",
        "commands/outcome.rs",
        "commands/pipeline.rs",
        "retry/clock.rs",
        "retry/hint.rs",
        "sandbox/answer.rs",
        "sandbox/service.rs",
        "terminal/mod.rs",
    ];
    assert_eq!(exceptions, named.map(|file| root().join("src").join(file)));
}

/// The files in a folder that use the wall clock.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if !path.ends_with("tests.rs") && fs::read_to_string(&path).unwrap().contains("disallowed_methods") {
            files.push(path);
        }
    }
}
