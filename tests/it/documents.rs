//! Documents and `--help`, compared with the program.

use std::collections::BTreeSet;
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

/// The names in a cell such as `flate2 (with zlib-rs), ruzstd`.
fn names(cell: &str) -> Vec<String> {
    let outside = cell.split('(').map(|part| part.rsplit(')').next().unwrap()).collect::<String>();
    outside.split(',').map(|name| name.trim().to_owned()).collect()
}

#[test]
fn the_table_of_dependencies_has_each_of_them_and_no_other() {
    let (manifest, architecture) = (document("Cargo.toml"), document("ARCHITECTURE.md"));
    let declared: BTreeSet<_> = section(&manifest, "[dependencies]", "[")
        .filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()))
        .collect();
    let rows = section(&architecture, "## Dependencies", "#").filter(|line| line.starts_with("| ")).skip(1);
    let explained: Vec<_> =
        rows.flat_map(|row| names(row.split(" | ").next().unwrap().trim_matches(['|', ' ']))).collect();
    assert!(declared.len() > 20);
    assert_eq!(explained.len(), declared.len(), "one row each: {explained:?}");
    assert_eq!(explained.into_iter().collect::<BTreeSet<_>>(), declared);
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
