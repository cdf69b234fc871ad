//! The schema of the config file, as the program prints it.

use serde_json::Value;

use crate::support::Run;

#[test]
fn the_schema_is_json_and_needs_nothing_but_the_program() {
    let printed = Run::command(&["schema"]).without_credentials().exits(0).stdout;
    let committed = include_str!("../../docs/config.schema.json");
    assert_eq!(printed.parse::<Value>().unwrap(), committed.parse::<Value>().unwrap());
    assert_eq!(printed, committed);
}
