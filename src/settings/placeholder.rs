//! A value that `init` leaves open, such as `<your cohort ID>`.

/// How a placeholder begins.
pub const START: &str = "<your ";

/// The placeholder for a value.
pub fn of(what: &str) -> String {
    format!("{START}{what}>")
}

/// Whether a value is a placeholder.
pub fn is(value: &str) -> bool {
    value.starts_with(START) && value.ends_with('>')
}
