//! Which request is to go wrong, and how; decided by its number alone, so that a run can be repeated.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::str::FromStr;

use thiserror::Error;

/// How a request goes wrong. "Applied" means that its members are in the cohort, whatever the client hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with 503; not applied.
    Unavailable,
    /// The connection is reset before the body is read; not applied.
    ResetBefore,
    /// The connection is reset in the middle of the body; not applied.
    ResetInBody,
    /// The connection is reset without an answer; applied.
    ResetAfterBody,
    /// The connection is reset within the answer; applied.
    ResetInAnswer,
    /// The connection is closed in the middle of the answer's body; applied.
    HalfAnswer,
    /// The answer comes in chunks, and the connection is closed before the last one; applied.
    HalfChunk,
    /// No answer; the connection is held until the client goes; applied.
    NoAnswer,
    /// The answer comes a byte at a time, 1 ms apart; applied.
    Drip,
    /// The answer begins with something other than HTTP; applied.
    GarbageStatus,
    /// The answer's Content-Length is no number; applied.
    GarbageLength,
    /// Answered with 307 to another path; not applied.
    Redirect,
    /// Answered with 200 and a web page; not applied.
    Html,
    /// The body of the answer never ends; applied.
    EndlessBody,
    /// The head of the answer never ends; applied.
    EndlessHeaders,
    /// A good answer in HTTP/1.0, without a length: its end is the connection's; applied.
    Http10,
    /// A good answer, in chunks; applied.
    Chunked,
    /// 100 and 103 come before the good answer; applied.
    Interim,
    /// A good answer that keeps the connection, which is closed then; applied.
    CloseAfter,
    /// Answered with 503 before the body is read, and closed; not applied.
    EarlyAnswer,
}

/// Each with its name on the command line, and what happens.
const FAULTS: [(Fault, &str, &str); 20] = [
    (Fault::Unavailable, "unavailable", "503; not applied"),
    (Fault::ResetBefore, "reset_before", "reset before the body is read; not applied"),
    (Fault::ResetInBody, "reset_in_body", "reset in the middle of the body; not applied"),
    (Fault::ResetAfterBody, "reset_after_body", "reset without an answer; applied"),
    (Fault::ResetInAnswer, "reset_in_answer", "reset within the answer; applied"),
    (Fault::HalfAnswer, "half_answer", "closed in the middle of the answer's body; applied"),
    (Fault::HalfChunk, "half_chunk", "chunked, closed before the last chunk; applied"),
    (Fault::NoAnswer, "no_answer", "never answered, held until the client goes; applied"),
    (Fault::Drip, "drip", "answered a byte at a time, 1 ms apart; applied"),
    (Fault::GarbageStatus, "garbage_status", "an answer that is not HTTP; applied"),
    (Fault::GarbageLength, "garbage_length", "a Content-Length that is no number; applied"),
    (Fault::Redirect, "redirect", "307 to another path; not applied"),
    (Fault::Html, "html", "200 with a web page; not applied"),
    (Fault::EndlessBody, "endless_body", "a body that never ends; applied"),
    (Fault::EndlessHeaders, "endless_headers", "a head that never ends; applied"),
    (Fault::Http10, "http_1_0", "a good answer in HTTP/1.0, ended by closing; applied"),
    (Fault::Chunked, "chunked", "a good answer, in chunks; applied"),
    (Fault::Interim, "interim", "100 and 103 before the good answer; applied"),
    (Fault::CloseAfter, "close_after", "a good answer that keeps the connection, then closed; applied"),
    (Fault::EarlyAnswer, "early_answer", "503 before the body is read, then closed; not applied"),
];

impl Fault {
    /// As it is written on the command line, and in the stats.
    pub fn name(self) -> &'static str {
        FAULTS.iter().find(|(fault, ..)| *fault == self).map_or("", |(_, name, _)| name)
    }

    /// Whether the request has its effect all the same.
    pub fn is_applied(self) -> bool {
        FAULTS.iter().any(|(fault, _, what)| *fault == self && !what.ends_with("not applied"))
    }

    /// Whether it happens before the request's body is read.
    pub fn comes_before_the_body(self) -> bool {
        matches!(self, Self::ResetBefore | Self::ResetInBody | Self::EarlyAnswer)
    }
}

/// The help of the command's flag: all kinds, one a line.
pub fn fault_help() -> String {
    let mut help =
        "Let every n-th request (without :N every one) go wrong in this way; may be repeated, the first that is \
                    due counts. Kinds, and whether the request is applied:"
            .to_owned();
    for (_, name, what) in FAULTS {
        // Writing to a String cannot fail.
        let _ = write!(help, "\n  {name:<17} {what}");
    }
    help
}

/// A fault, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// To every n-th request.
    pub every: NonZeroU64,
}

/// Why a text is no fault.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "a kind of fault is wanted, such as reset_after_body, or reset_after_body:3 for every third request; --help lists them"
)]
pub struct FaultRuleError;

impl FromStr for FaultRule {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<Self, FaultRuleError> {
        let (wanted, every) = match text.split_once(':') {
            Some((kind, every)) => (kind, every.parse().map_err(|_| FaultRuleError)?),
            None => (text, NonZeroU64::MIN),
        };
        let (fault, ..) = FAULTS.iter().find(|(_, name, _)| *name == wanted).ok_or(FaultRuleError)?;
        Ok(Self { fault: *fault, every })
    }
}

/// Decides the fault of one API request after the other.
#[derive(Debug, Default)]
pub struct FaultPlan {
    rules: Vec<FaultRule>,
    seen: u64,
}

impl FaultPlan {
    /// A plan of these rules, of which the first that is due counts; `fail_every` comes last.
    pub fn new(mut rules: Vec<FaultRule>, fail_every: Option<NonZeroU64>) -> Self {
        rules.extend(fail_every.map(|every| FaultRule { fault: Fault::Unavailable, every }));
        Self { rules, seen: 0 }
    }

    /// The fault of the next request; `None` lets it through.
    pub fn next(&mut self) -> Option<Fault> {
        self.seen += 1;
        self.rules.iter().find(|rule| self.seen.is_multiple_of(rule.every.get())).map(|rule| rule.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rules: &[&str], fail_every: u64) -> [Option<&'static str>; 6] {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let mut plan = FaultPlan::new(rules, NonZeroU64::new(fail_every));
        [(); 6].map(|()| plan.next().map(Fault::name))
    }

    #[test]
    fn every_nth_request_fails() {
        let bad = Some("unavailable");
        for (every, expected) in [
            (0, [None; 6]),
            (1, [bad; 6]),
            (2, [None, bad, None, bad, None, bad]),
            (3, [None, None, bad, None, None, bad]),
            (7, [None; 6]),
        ] {
            assert_eq!(faults(&[], every), expected, "every {every}");
        }
    }

    #[test]
    fn of_several_rules_the_first_that_is_due_counts() {
        let (reset, html) = (Some("reset_before"), Some("html"));
        assert_eq!(faults(&["reset_before:3", "html:2"], 0), [None, html, reset, html, None, reset]);
        assert_eq!(faults(&["html"], 2), [html; 6]);
        assert_eq!(faults(&["html:4"], 2), [None, Some("unavailable"), None, html, None, Some("unavailable")]);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_which_the_command_line_takes() {
        for (fault, name, what) in FAULTS {
            assert_eq!(name.parse(), Ok(FaultRule { fault, every: NonZeroU64::MIN }));
            assert_eq!(fault.name(), name);
            assert!(what.ends_with("applied") && fault_help().contains(name), "{name}");
            assert!(!(fault.comes_before_the_body() && fault.is_applied()), "{name}");
        }
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for text in ["", "rest", "html:", "html:0", "html:-1", "html:x", ":3", "Html"] {
            assert_eq!(text.parse::<FaultRule>(), Err(FaultRuleError), "{text}");
        }
    }
}
