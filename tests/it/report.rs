//! The report that `--json` prints.

use serde_json::Value;

/// A report in JSON.
#[derive(Debug)]
pub struct Report(pub Value);

impl Report {
    /// Reads one JSON object and nothing else, and asserts that it adds up.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        Self::of(serde_json::from_str(text).unwrap_or_else(|error| panic!("no report: {error}\n{text}")))
    }

    /// Takes one that was read already, and asserts that it adds up.
    #[track_caller]
    pub fn of(value: Value) -> Self {
        let report = Self(value);
        let sum = |pointers: &[&str]| pointers.iter().map(|pointer| report.number(pointer)).sum::<u64>();
        let rows = ["/rows_used", "/rows_without_identifier", "/rows_rejected"];
        assert_eq!(report.number("/rows_read"), sum(&rows), "rows do not add up: {report:?}");
        let total = report.number("/identifiers/total");
        assert_eq!(total, sum(&["/delivered", "/refused", "/undelivered"]), "identifiers do not add up: {report:?}");
        let aliases = report.0["identifiers"]["aliases"].as_object().expect("aliases by label");
        let aliases: u64 = aliases.values().map(|count| count.as_u64().unwrap()).sum();
        let kinds = sum(&["/identifiers/user_ids", "/identifiers/device_ids"]) + aliases;
        assert_eq!(total, kinds, "kinds do not add up: {report:?}");
        report
    }

    /// The number at this place.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> u64 {
        let value = self.0.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{pointer} is no number: {self:?}"))
    }

    /// The text at this place.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.0.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("{pointer} is no text: {self:?}"))
    }

    /// What is at this place.
    #[track_caller]
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("nothing is at {pointer}: {self:?}"))
    }

    /// Asserts several numbers at once.
    #[track_caller]
    pub fn has(self, numbers: &[(&str, u64)]) -> Self {
        for (pointer, expected) in numbers {
            assert_eq!(self.number(pointer), *expected, "{pointer} in {self:?}");
        }
        self
    }
}
