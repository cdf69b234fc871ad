//! `td-braze-cohort schema`: the JSON Schema of the config file, for editors.

use crate::commands::exit::Exit;
use crate::settings::schema;
use crate::terminal;

/// Prints it.
pub fn run() -> Exit {
    terminal::print(&format!("{:#}", schema::schema()));
    Exit::Success
}
