//! Writes every error that a user can meet to tests/messages.txt, so that they can be read as a whole, and changed on purpose.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

mod input;
mod network;
mod settings;

const COMMITTED: &str = "tests/messages.txt";
/// If this variable is set, the file is written again.
const UPDATE: &str = "UPDATE_MESSAGES";

/// The messages below a heading.
type Section = (&'static str, Vec<String>);

fn texts<E: std::fmt::Display>(errors: impl IntoIterator<Item = E>) -> Vec<String> {
    errors.into_iter().map(|error| error.to_string()).collect()
}

fn all() -> String {
    let sections = settings::sections().into_iter().chain(input::sections()).chain(network::sections());
    let section = |(heading, messages): Section| format!("\n== {heading}\n{}\n", messages.join("\n"));
    let heading = "Every error that a user can meet. Written by the test in tests/it/messages.rs.\n".to_owned();
    std::iter::once(heading).chain(sections.map(section)).collect()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_message_is_the_one_that_was_read_last() {
    let (path, found) = (top().join(COMMITTED), all());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &found).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    let missing = |there: &str, here: &str| -> Vec<String> {
        there.lines().filter(|line| !here.lines().any(|known| known == *line)).map(str::to_owned).collect()
    };
    let (new, gone) = (missing(&found, &committed), missing(&committed, &found));
    let what_to_do = format!("read these as the person who meets them, then set {UPDATE}=1");
    assert!(found == committed, "{what_to_do}\nnew: {new:#?}\ngone: {gone:#?}");
}

#[test]
fn no_message_is_there_twice_or_ends_like_a_sentence_that_goes_on() {
    let text = all();
    let mut seen = HashSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        assert!(seen.insert(line), "twice: {line}");
        let end = line.chars().next_back().unwrap();
        assert!(end.is_alphanumeric() || line.ends_with(['.', ')', '\'', '?', ']', '/', '}', '%']), "{line}");
        assert!(!line.contains("  ") && !line.contains(": :"), "{line}");
    }
}

/// The sandbox's answers in Braze's name are not errors of the program.
const SAID_BY_THE_SANDBOX: [&str; 2] = ["src/sandbox/refusal.rs", "src/sandbox/http.rs"];

#[test]
fn every_error_of_the_sources_has_a_sample() {
    let samples = rust_files(&top().join("tests/it/messages"));
    let samples: String = samples.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut count = 0;
    for path in rust_files(&top().join("src")) {
        let name = path.strip_prefix(top()).unwrap().to_str().unwrap();
        if SAID_BY_THE_SANDBOX.contains(&name) {
            continue;
        }
        for error in errors_in(&fs::read_to_string(&path).unwrap()) {
            assert!(samples.contains(&error), "{name}: {error} has no sample in tests/it/messages");
            count += 1;
        }
    }
    assert!(count > 60, "only {count} were found");
}

/// The variants and structs that thiserror gives a message, such as `ConfigError::Missing`.
fn errors_in(source: &str) -> Vec<String> {
    let (mut lines, mut found, mut owner) = (source.lines().map(str::trim), Vec::new(), "");
    let word = |line: &str| line.chars().take_while(|letter| letter.is_alphanumeric()).collect::<String>();
    while let Some(line) = lines.next() {
        owner = line.strip_prefix("pub enum ").unwrap_or(owner);
        // An error that is passed through has its sample at its source.
        if !line.starts_with("#[error(") || line == "#[error(transparent)]" {
            continue;
        }
        if !line.ends_with(")]") {
            lines.by_ref().find(|line| line.ends_with(")]"));
        }
        let Some(item) = lines.by_ref().find(|line| !line.starts_with("//") && !line.starts_with("#[")) else { break };
        found.push(match item.strip_prefix("pub struct ") {
            Some(name) => word(name),
            None => format!("{}::{}", word(owner), word(item)),
        });
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] }).collect()
}

/// The system's error if the user lacks a permission.
fn denied() -> std::io::Error {
    std::io::Error::from_raw_os_error(13)
}

/// The system's error if a disk is full.
fn full() -> std::io::Error {
    std::io::Error::from_raw_os_error(28)
}
