//! In: text. Out: the same text, redacted and escaped, on standard error (log lines, progress) or standard output
//! (results). It never stops a run, not even if an output is closed.
//!
//! Only this module writes to the terminal, and only it escapes. Names and messages from files and servers arrive
//! unescaped.

mod escape;

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use env_logger::{Target, WriteStyle};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use log::{LevelFilter, warn};

use crate::secret::redacted;

/// Log lines appear above it.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Starts the logger with the filter in `RUST_LOG`, or `default_filter`. Libraries never log below info, because such
/// lines can contain bodies.
#[expect(clippy::disallowed_methods, reason = "a log has the wall clock's time")]
pub fn start_logger(default_filter: &str) {
    let own = env!("CARGO_CRATE_NAME");
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(default_filter))
        .format(move |out, record| {
            if record.level().to_level_filter() > LevelFilter::Info && !record.target().starts_with(own) {
                return Ok(());
            }
            let line = line(&record.args().to_string());
            let (time, level) = (Timestamp::now(), record.level());
            let style = out.default_level_style(level);
            writeln!(out, "{time:.0} {style}{level:<5}{style:#} {line}")
        })
        .write_style(if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            WriteStyle::Always
        } else {
            WriteStyle::Never
        })
        .target(Target::Pipe(Box::new(Lines)))
        .init();
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match BAR.get() {
            Some(bar) if !bar.is_finished() => bar.println(String::from_utf8_lossy(line).trim_end()),
            _ => write_error(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing could report an error here.
fn write_error(text: &[u8]) {
    let _ = io::stderr().write_all(text);
}

/// From now on a panic is one redacted line, regardless of the log filter.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        say_error(&format!("a panic{place}: {}", without_data(panic.payload_as_str().unwrap_or_default())));
    }));
}

/// Cuts a panic message at the first quote: the standard library quotes values, which may be identifiers.
fn without_data(said: &str) -> &str {
    said.split(['`', '"', '\'']).next().unwrap_or_default().trim_end()
}

/// A text as one line: redacted, escaped, at most 8,000 bytes.
pub fn line(text: &str) -> String {
    escape::line(&redacted(text))
}

/// Writes a result of any number of lines to standard output.
pub fn print(text: &str) {
    let text = format!("{}\n", escape::lines(&redacted(text)));
    let mut out = io::stdout();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        warn!("standard output cannot be written ({error}); the run is not affected");
    }
}

/// Writes an error to standard error, as one line.
pub fn say_error(text: &str) {
    say(&format!("error: {}\n", line(text)));
}

/// Writes a text to standard error.
pub fn say(text: &str) {
    write_error(escape::lines(&redacted(text)).as_bytes());
}

/// Whether standard error is a terminal.
pub fn has_bar() -> bool {
    io::stderr().is_terminal()
}

/// Whether both outputs are terminals.
pub fn is_interactive() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Starts or restarts the bar. `length` is the input's size in bytes, if it is known.
pub fn start_bar(length: Option<u64>) -> &'static ProgressBar {
    let bar = BAR.get_or_init(|| ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(5)));
    let template = if length.is_some() { "{bar:30} {percent:>3} %  {msg}" } else { "{spinner} {msg}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    match length {
        Some(length) => bar.set_length(length),
        None => bar.unset_length(),
    }
    bar.reset();
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{REDACTED, Secret};
    use rstest::rstest;

    fn said_by(panic: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let payload = std::panic::catch_unwind(panic).unwrap_err();
        let formatted = payload.downcast_ref::<String>().cloned();
        formatted.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
    }

    #[rstest]
    #[case::cut_amid_a_letter(said_by(|| drop("zoë"[..3].to_owned())), "byte index")]
    #[case::unwrapped(said_by(|| drop(String::from_utf8(b"zo\xff".to_vec()).map_err(|_| "zoë").unwrap())), "called")]
    #[case::index(said_by(|| drop(vec![String::new()].remove("zoë".len()))), "removal index")]
    #[case::own(said_by(|| panic!("no such state: {:?}", "zoë")), "no such state")]
    fn a_panic_is_shown_without_what_it_quotes(#[case] said: String, #[case] beginning: &str) {
        let shown = without_data(&said);
        assert!(shown.contains(beginning) && !shown.contains("zo"), "{said}: {shown}");
    }

    #[test]
    fn a_panic_that_holds_a_secret_is_redacted() {
        let secret = Secret::new("never-in-a-panic-4711".to_owned());
        let said = said_by(|| panic!("sent {} and failed", secret.expose()));
        assert_eq!(redacted(without_data(&said)), format!("sent {REDACTED} and failed"));
    }
}
