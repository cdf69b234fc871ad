//! Documents and `--help`, compared with the program.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use td_braze_cohort::commands::cli::Cli;

use crate::support::Run;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The lines from a heading to the next line that begins with `next`.
fn section<'a>(text: &'a str, heading: &str, next: &str) -> impl Iterator<Item = &'a str> {
    let (_, rest) = text.split_once(&format!("\n{heading}\n")).unwrap();
    rest.lines().take_while(move |line| !line.starts_with(next))
}

#[test]
fn cargo_toml_says_what_each_dependency_is_for() {
    let manifest = document("Cargo.toml");
    let declared: Vec<_> = section(&manifest, "[dependencies]", "[").filter(|line| line.contains(" = ")).collect();
    assert!(declared.len() > 20);
    let unexplained: Vec<_> = declared.iter().filter(|line| !line.contains("  # ")).collect();
    assert!(unexplained.is_empty(), "no comment: {unexplained:?}");
}

#[test]
fn every_command_has_an_example_in_its_help_that_can_be_parsed() {
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let help = Run::command(&[name, "--help"]).exits(0).stdout;
        let example =
            help.lines().find(|line| line.starts_with("Example")).unwrap_or_else(|| panic!("{name} has none"));
        if let Some(example) = example.strip_prefix("Example: ") {
            let words: Vec<_> = example.split(' ').take_while(|word| *word != ">").collect();
            assert_eq!(words[..2], ["td-braze-cohort", name]);
            Cli::command().try_get_matches_from(words).unwrap();
        }
    }
}

/// The rows of the table under "Exit codes", each as its cells.
fn exit_codes(document: &str) -> Vec<Vec<String>> {
    let rows = section(document, "## Exit codes", "#").filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").map(str::to_owned).collect()).collect()
}

#[test]
fn the_documents_list_the_exit_codes_of_the_help() {
    // As it is before it is wrapped for a terminal.
    let help = Cli::command().get_after_long_help().unwrap().to_string();
    let codes = section(&help, "Exit codes:", "#").filter_map(|line| line.trim().split_once("  "));
    let in_help: Vec<_> =
        codes.map(|(code, meaning)| vec![code.trim().to_owned(), meaning.trim().to_owned()]).collect();
    assert!(in_help.len() > 8);
    let in_readme = exit_codes(&document("README.md"));
    assert!(in_readme.len() > 3 && in_readme.iter().all(|row| in_help.contains(row)), "{in_readme:?}");
    let first = |rows: &[Vec<String>]| rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(first(&exit_codes(&document("docs/operations.md"))), first(&in_help));
}
