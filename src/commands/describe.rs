//! `td-braze-cohort completions`, `man` and `schema`: what the program says of itself, for shells, readers and editors.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::CommandError;
use crate::commands::cli::Cli;
use crate::commands::exit::Exit;
use crate::settings::schema;
use crate::terminal;

/// Prints what makes a shell complete commands and flags.
pub fn completions(shell: Shell) -> Exit {
    let (mut cli, mut script) = (Cli::command(), Vec::new());
    let name = cli.get_name().to_owned();
    clap_complete::generate(shell, &mut cli, name, &mut script);
    print(&script)
}

/// Prints the manual page of a command, or that of the whole.
pub fn manual(command: Option<&str>) -> Result<Exit, CommandError> {
    let mut cli = Cli::command();
    // Gives each command its full name and the flags that all have.
    cli.build();
    let page = match command {
        None => cli,
        Some(name) => match cli.find_subcommand(name) {
            Some(command) => command.clone(),
            None => return Err(CommandError::NoSuchCommand { name: name.to_owned() }),
        },
    };
    let mut roff = Vec::new();
    Man::new(page)
        .render(&mut roff)
        .map_err(|error| CommandError::CannotWrite { what: "the manual page".to_owned(), error })?;
    Ok(print(&roff))
}

/// Prints the JSON Schema of the config file.
pub fn schema() -> Exit {
    print(format!("{:#}", schema::schema()).as_bytes())
}

fn print(text: &[u8]) -> Exit {
    terminal::print(String::from_utf8_lossy(text).trim_end());
    Exit::Success
}
