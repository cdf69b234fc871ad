//! The format of log lines and errors: text for people, or JSON for log collectors. Pure.

use std::fmt::Display;

use clap::ValueEnum;
use serde_json::json;

/// The variable for it if no flag can be given, as for the operator.
pub const VARIABLE: &str = "TD_BRAZE_COHORT_LOG_FORMAT";
const FLAG: &str = "--log-format";

/// A format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object per line, with time, level and message
    Json,
}

impl LogFormat {
    /// The flag, or else the variable. An invalid flag is left to the command line's own check. The error is an invalid value of the
    /// variable.
    pub fn wanted<'a>(
        arguments: impl IntoIterator<Item = &'a str>,
        variable: Option<String>,
    ) -> Result<LogFormat, String> {
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let value = match argument.strip_prefix(FLAG) {
                Some("") => arguments.next(),
                Some(rest) => rest.strip_prefix('='),
                None if argument == "--" => break,
                None => None,
            };
            if let Some(format) = value.and_then(|value| Self::from_str(value, false).ok()) {
                return Ok(format);
            }
        }
        match variable {
            Some(value) if !value.is_empty() => Self::from_str(&value, false).map_err(|_| value),
            _ => Ok(Self::default()),
        }
    }
}

/// A line of JSON; the level in lower case. The message must be redacted before: redaction does not know its escaped form.
pub fn json_line(time: impl Display, level: log::Level, message: &str) -> String {
    json!({"time": time.to_string(), "level": level.as_str().to_lowercase(), "message": message}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nothing(&["upload", "c.yml"], None, Ok(LogFormat::Text))]
    #[case::flag(&["--log-format", "json", "upload"], None, Ok(LogFormat::Json))]
    #[case::flag_at_the_end(&["upload", "c.yml", "--log-format=json"], None, Ok(LogFormat::Json))]
    #[case::variable(&["operator"], Some("json"), Ok(LogFormat::Json))]
    #[case::flag_over_variable(&["--log-format=text"], Some("json"), Ok(LogFormat::Text))]
    #[case::flag_over_a_wrong_variable(&["--log-format=text"], Some("xml"), Ok(LogFormat::Text))]
    #[case::empty_variable(&[], Some(""), Ok(LogFormat::Text))]
    #[case::wrong_variable(&[], Some("xml"), Err("xml"))]
    #[case::wrong_flag(&["--log-format=xml"], None, Ok(LogFormat::Text))]
    #[case::flag_without_value(&["--log-format"], None, Ok(LogFormat::Text))]
    #[case::another_flag(&["--log-formats=json"], None, Ok(LogFormat::Text))]
    #[case::no_flag_any_more(&["upload", "--", "--log-format=json"], None, Ok(LogFormat::Text))]
    fn the_flag_says_the_format_before_the_variable(
        #[case] arguments: &[&str],
        #[case] variable: Option<&str>,
        #[case] wanted: Result<LogFormat, &str>,
    ) {
        let found = LogFormat::wanted(arguments.iter().copied(), variable.map(str::to_owned));
        assert_eq!(found, wanted.map_err(str::to_owned));
    }

    #[test]
    fn a_line_of_json_is_one_line_whatever_the_message_holds() {
        let line = json_line("2026-11-23T00:00:00Z", log::Level::Warn, "a \"b\"\nc\u{1b}");
        assert_eq!(line, r#"{"time":"2026-11-23T00:00:00Z","level":"warn","message":"a \"b\"\nc\u001b"}"#);
    }
}
