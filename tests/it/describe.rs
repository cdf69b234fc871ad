//! What the program says of itself: completions, manual pages, the schema of the config file.

use rstest::rstest;
use serde_json::Value;

use crate::support::Run;

#[rstest]
#[case("bash", "-o default td-braze-cohort")]
#[case("zsh", "#compdef td-braze-cohort")]
#[case("fish", "complete -c td-braze-cohort")]
fn completions_are_those_of_the_shell_and_know_flags(#[case] shell: &str, #[case] word: &str) {
    Run::command(&["completions", shell]).exits(0).prints(&[word, "dry-run", "log-format"]);
}

#[rstest]
#[case(&[], &[".TH td-braze-cohort 1", "td\\-braze\\-cohort\\-upload(1)", "BRAZE_CLIENT_SECRET", "Exit codes"])]
#[case(&["upload"], &[".TH td-braze-cohort-upload 1", "\\-\\-dry\\-run", "\\-\\-log\\-format", "Example: "])]
#[case(&["sandbox"], &[".TH td-braze-cohort-sandbox 1", "Answer every n"])]
fn there_is_a_manual_page_of_the_whole_and_of_each_command(#[case] command: &[&str], #[case] words: &[&str]) {
    Run::command(&[&["man"], command].concat()).exits(0).prints(words);
}

#[test]
fn a_manual_page_of_no_command_is_usage() {
    Run::command(&["man", "uplaod"]).exits(2).says(&["no command 'uplaod'", "--help"]);
}

#[test]
fn the_schema_is_json_and_needs_nothing_but_the_program() {
    let printed = Run::command(&["schema"]).without_credentials().exits(0).stdout;
    let committed = include_str!("../../docs/config.schema.json");
    assert_eq!(printed.parse::<Value>().unwrap(), committed.parse::<Value>().unwrap());
    assert_eq!(printed, committed);
}
