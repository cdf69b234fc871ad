//! The table of faults, `tests/faults.md`, compared with the tests that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The file and the name of a test of the library or of `tests/it`, from the name that cargo gives it.
fn found(test: &str) -> (PathBuf, String) {
    let (modules, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("{test} has no module"));
    let modules: Vec<_> = modules.split("::").collect();
    for folder in ["src", "tests/it"].map(|folder| root().join(folder)) {
        // Inline modules have no file.
        for length in (1..=modules.len()).rev() {
            let path = folder.join(modules[..length].join("/"));
            for file in [path.with_extension("rs"), path.join("mod.rs")] {
                if fs::read_to_string(&file).is_ok_and(|text| text.contains(&format!("fn {name}("))) {
                    return (file, name.to_owned());
                }
            }
        }
    }
    panic!("there is no test {test}")
}

/// The rows: the fault's name, and the tests as file and name.
fn table() -> Vec<(String, Vec<(PathBuf, String)>)> {
    let text = fs::read_to_string(root().join("tests/faults.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("- "));
    rows.map(|row| {
        let (fault, tests) = row.split_once(": `").expect(row);
        let tests = tests.split(", ").map(|test| found(test.trim_matches('`')));
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
            let text = fs::read_to_string(&file).unwrap();
            let declared = text.find(&format!("fn {name}(")).unwrap();
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
        "sandbox/http.rs",
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
