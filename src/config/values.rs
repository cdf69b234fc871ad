//! Raw values into typed ones. Digdag turns numbers into text and text into numbers, so both are taken for either.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::{self, Endpoint};
use super::key::Key;
use super::raw::{Layer, Origin, Raw, Written};
use super::{ConfigError, MaxRejected};
use crate::columns::Names;
use crate::identifier::{DEVICE_IDS, USER_IDS};
use crate::operation::{Operation, Operations};
use crate::removals::RemovalLimits;
use crate::rows::delimited::MAX_COLUMNS;
use crate::rows::format::{Form, Format};
use crate::secret::{holds_a_secret, redacted};
use crate::source::Input;

/// The most alias columns; Braze sets no limit, a `u16` counts them.
const MAX_ALIASES: usize = 1000;
/// Braze's own limit.
const MAX_REQUESTS_PER_HOUR: u64 = 250_000;
const MAX_THREADS: u64 = 256;
/// The most entries of `input`; a pattern may match more.
const MAX_INPUTS: usize = 10_000;
/// More than any job has.
const MAX_JOB_DIGITS: usize = 30;
/// Longer texts are a mistake, such as a file's content in the place of its name.
const MAX_TEXT_BYTES: usize = 4096;

/// The layer with a type for each key.
pub struct Values<'a>(pub &'a Layer);

impl Values<'_> {
    /// Text that is not empty, or a whole number's digits.
    pub fn text(&self, key: Key) -> Result<Option<String>, ConfigError> {
        let Some(written) = self.written(key) else { return Ok(None) };
        scalar(&written.raw).map(Some).map_err(|expected| bad(key, &written.origin, expected))
    }

    pub fn whole_number(&self, key: Key) -> Result<Option<u64>, ConfigError> {
        let Some(written) = self.written(key) else { return Ok(None) };
        let number = scalar(&written.raw).ok().and_then(|digits| parse_digits(&digits));
        number.map(Some).ok_or_else(|| bad(key, &written.origin, wanted("a whole number", &written.raw)))
    }

    pub fn thread_count(&self) -> Result<usize, ConfigError> {
        match self.whole_number(Key::ThreadCount)? {
            None => Ok(4),
            Some(count @ 1..=MAX_THREADS) => Ok(usize::try_from(count).unwrap_or(4)),
            Some(_) => Err(self.bad(Key::ThreadCount, "has to be a whole number from 1 to 256")),
        }
    }

    pub fn max_requests_per_hour(&self) -> Result<u64, ConfigError> {
        match self.whole_number(Key::MaxRequestsPerHour)? {
            Some(0) => Err(self.bad(Key::MaxRequestsPerHour, "has to be at least 1")),
            count => Ok(count.unwrap_or(MAX_REQUESTS_PER_HOUR)),
        }
    }

    pub fn operations(&self) -> Result<Operations, ConfigError> {
        match (self.operation()?, self.text(Key::OperationColumn)?) {
            (Some(operation), None) => Ok(Operations::One(operation)),
            (None, Some(column)) => Ok(Operations::Column(column)),
            (Some(_), Some(_)) => {
                Err(self.bad(Key::OperationColumn, "cannot be set together with operation: leave one of them out"))
            }
            (None, None) => Err(ConfigError::Missing {
                key: Key::Operation,
                hint: "write operation: add, or operation: remove, or name the column that says it for each row in operation_column",
            }),
        }
    }

    fn operation(&self) -> Result<Option<Operation>, ConfigError> {
        let wrong = |_| self.bad(Key::Operation, "has to be 'add' or 'remove'");
        match self.text(Key::Operation).map_err(wrong)?.as_deref() {
            None => Ok(None),
            Some("add") => Ok(Some(Operation::Add)),
            Some("remove") => Ok(Some(Operation::Remove)),
            Some(other) => {
                Err(self.bad(Key::Operation, &format!("has to be 'add' or 'remove', not '{}'", shortened(other))))
            }
        }
    }

    /// What the columns are called that matter; all different.
    pub fn names_of_columns(&self, operation: Option<&str>) -> Result<Names, ConfigError> {
        let names = Names { aliases: self.aliases()?, mapping: Vec::new(), operation: operation.map(str::to_owned) };
        let outputs = names.outputs();
        if operation.is_some_and(|column| outputs.iter().any(|output| output == column)) {
            return Err(self
                .bad(Key::OperationColumn, "names a column of identifiers: name the column that says add or remove"));
        }
        let mapping = self.mapping()?;
        let (mut seen, mut attributes) = (HashSet::new(), HashSet::new());
        for (attribute, output) in &mapping {
            let wrong = |expected: String| Err(self.bad(Key::Mapping, &expected));
            let (from, to) = (shortened(attribute), shortened(output));
            if !outputs.contains(output) {
                return wrong(format!(
                    "maps '{from}' to '{to}', which is neither user_ids nor device_ids nor a label: write aliases: [{to}] as well"
                ));
            }
            if outputs.contains(attribute) || operation == Some(attribute.as_str()) {
                return wrong(format!(
                    "maps '{from}', which is the name of a column that is read as it is: leave it out"
                ));
            }
            if !seen.insert(output) {
                return wrong(format!("maps two columns to '{to}': keep one of them"));
            }
            if !attributes.insert(attribute) {
                return wrong(format!("maps '{from}' twice: keep one of them"));
            }
        }
        Ok(Names { mapping, ..names })
    }

    fn mapping(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let Some(written) = self.written(Key::Mapping) else { return Ok(Vec::new()) };
        let Raw::Map(entries) = &written.raw else {
            let expected = wanted("a map such as {external_id: user_ids}", &written.raw);
            return Err(bad(Key::Mapping, &written.origin, expected));
        };
        let entries = entries.iter().map(|(from, to)| Ok((scalar(&Raw::Text(from.clone()))?, scalar(to)?)));
        entries.collect::<Result<_, String>>().map_err(|expected| bad(Key::Mapping, &written.origin, expected))
    }

    fn aliases(&self) -> Result<Vec<String>, ConfigError> {
        let wrong = |expected: &str| self.bad(Key::Aliases, expected);
        let labels = self.names(Key::Aliases)?;
        if labels.len() > MAX_ALIASES {
            return Err(wrong("has more than 1,000 labels: name the columns that are in the result"));
        }
        let mut seen = HashSet::new();
        for label in &labels {
            if label == USER_IDS || label == DEVICE_IDS {
                return Err(wrong(&format!(
                    "names '{label}', which is a column of its own and always read: leave it out"
                )));
            }
            if !seen.insert(label) {
                return Err(wrong(&format!("names '{}' twice: keep one of them", shortened(label))));
            }
        }
        Ok(labels)
    }

    /// A list of texts, or one text with commas.
    fn names(&self, key: Key) -> Result<Vec<String>, ConfigError> {
        let Some(written) = self.written(key) else { return Ok(Vec::new()) };
        if matches!(&written.raw, Raw::Text(text) if text.trim().is_empty()) {
            // A template that came out empty: there are none.
            return Ok(Vec::new());
        }
        let wrong = |expected: String| bad(key, &written.origin, expected);
        match &written.raw {
            Raw::List(values) => values.iter().map(scalar).collect::<Result<Vec<_>, _>>().map_err(wrong),
            other => {
                let text = scalar(other).map_err(wrong)?;
                Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
            }
        }
    }

    pub fn input(&self) -> Result<Option<Input>, ConfigError> {
        let Some(written) = self.written(Key::Input) else { return Ok(None) };
        let Raw::List(entries) = &written.raw else {
            return Ok(self.text(Key::Input)?.map(|text| Input::from_text(&text)));
        };
        let wrong = |expected: String| bad(Key::Input, &written.origin, expected);
        let entries = entries.iter().map(scalar).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        match entries.as_slice() {
            [] => Err(wrong("is an empty list: name at least one file".to_owned())),
            [one] => Ok(Some(Input::from_text(one))),
            several if several.iter().any(|entry| entry == "-") => {
                Err(wrong("has standard input (-) among files: it can only be read alone".to_owned()))
            }
            several if several.len() > MAX_INPUTS => {
                Err(wrong("has more than 10,000 entries: use a pattern".to_owned()))
            }
            several => Ok(Some(Input::Files(several.iter().map(PathBuf::from).collect()))),
        }
    }

    /// The job whose result is the input. Its answer says what the columns are, so they may not be set beside it.
    pub fn job_id(&self) -> Result<Option<String>, ConfigError> {
        let Some(id) = self.text(Key::JobId)? else { return Ok(None) };
        if id.len() > MAX_JOB_DIGITS || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            let expected =
                format!("has to be the number of a job, such as ${{td.last_job_id}}, not '{}'", shortened(&id));
            return Err(self.bad(Key::JobId, &expected));
        }
        let beside = [
            (Key::Input, "give one of the two: the result of the job, or a file"),
            (Key::Columns, "leave it out, the job itself says what its columns are called"),
            (Key::Format, "leave it out, a job's result is always fetched as MessagePack"),
        ];
        match beside.into_iter().find(|(key, _)| self.written(*key).is_some()) {
            Some((key, way_out)) => Err(self.bad(key, &format!("is set beside job_id: {way_out}"))),
            None => Ok(Some(id)),
        }
    }

    pub fn form(&self) -> Result<Form, ConfigError> {
        let format = self.text(Key::Format)?.map(|name| Format::from_name(&name).ok_or(name)).transpose();
        let format = format.map_err(|name| {
            let known = Format::ALL.map(Format::name).join(", ");
            let hint = Format::nearest(&name).map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
            self.bad(Key::Format, &format!("has to be one of {known}, not '{}'{hint}", shortened(&name)))
        })?;
        let columns = Some(self.names(Key::Columns)?).filter(|columns| !columns.is_empty());
        if columns.as_ref().is_some_and(|columns| columns.len() > MAX_COLUMNS) {
            return Err(self.bad(Key::Columns, "has more than 10,000 names, which no input may have"));
        }
        if let (Some(format), None) = (format.filter(|format| format.needs_columns()), &columns) {
            let expected = format!(
                "is {format}, which does not say what its columns are called: set columns to their names, in the order of the \
                 query's SELECT, such as columns: [user_ids, email]"
            );
            return Err(self.bad(Key::Format, &expected));
        }
        Ok(Form { format, columns, may_be_empty: false })
    }

    pub fn allow_endpoint(&self) -> Result<Vec<String>, ConfigError> {
        self.names(Key::AllowEndpoint)
    }

    pub fn endpoint(&self, environment: Option<String>) -> Result<Option<Endpoint>, ConfigError> {
        let allowed = self.allow_endpoint()?;
        let (text, origin) = match (self.text(Key::Endpoint)?, self.written(Key::Endpoint), environment) {
            (Some(text), Some(written), _) => (text, written.origin.clone()),
            (_, _, Some(text)) if !text.is_empty() => (text, Origin::Environment("BRAZE_ENDPOINT")),
            _ => return Ok(None),
        };
        endpoint::parse(&text, &allowed).map(Some).map_err(|error| ConfigError::Endpoint { origin, error })
    }

    pub fn partner(&self) -> Result<String, ConfigError> {
        let partner = self.text(Key::Partner)?.unwrap_or_else(|| "treasure_data".to_owned());
        if partner.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            Ok(partner)
        } else {
            Err(self
                .bad(Key::Partner, "has to be the partner's segment in Braze's path: letters, digits, _ and - only"))
        }
    }

    pub fn max_rejected(&self) -> Result<MaxRejected, ConfigError> {
        let Some(text) = self.text(Key::MaxRejected)? else { return Ok(MaxRejected::Default) };
        let limit = match text.strip_suffix('%') {
            Some(percent) => parse_digits(percent.trim()).filter(|percent| *percent <= 100).map(MaxRejected::Percent),
            None => parse_digits(&text).map(MaxRejected::Count),
        };
        limit.ok_or_else(|| self.bad(Key::MaxRejected, "has to be a whole number, or a percentage such as 5%"))
    }

    /// The limits of a delta: both counts or none, and only where rows say their operation in an input that can be read again.
    pub fn removal_limits(&self) -> Result<Option<RemovalLimits>, ConfigError> {
        let (possible, wanted) = (self.whole_number(Key::PossibleCount)?, self.whole_number(Key::WantedCount)?);
        let allowed = self.whole_number(Key::AllowRemovals)?;
        let (possible, wanted) = match (possible, wanted, allowed) {
            (Some(possible), Some(wanted), _) => (possible, wanted),
            (None, None, None) => return Ok(None),
            (Some(_), None, _) => return Err(self.bad(Key::PossibleCount, "needs wanted_count beside it")),
            (None, Some(_), _) => return Err(self.bad(Key::WantedCount, "needs possible_count beside it")),
            (None, None, Some(_)) => {
                return Err(self.bad(Key::AllowRemovals, "needs possible_count and wanted_count beside it"));
            }
        };
        if self.written(Key::OperationColumn).is_none() {
            return Err(self.bad(Key::PossibleCount, "is for a delta: it needs operation_column"));
        }
        if self.input()? == Some(Input::Stdin) {
            return Err(self.bad(Key::PossibleCount, "needs an input that can be read again: a file, or a job"));
        }
        Ok(Some(RemovalLimits { possible, wanted, allowed }))
    }

    pub fn duration(&self, key: Key) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse_duration(&text)
            .map(Some)
            .ok_or_else(|| self.bad(key, "has to be a duration such as 30s, 15m or 23h, longer than nothing"))
    }

    fn written(&self, key: Key) -> Option<&Written> {
        self.0.get(&key).filter(|written| written.raw != Raw::Null)
    }

    fn bad(&self, key: Key, expected: &str) -> ConfigError {
        let origin = self.written(key).map_or(Origin::Parameter, |written| written.origin.clone());
        bad(key, &origin, expected.to_owned())
    }
}

fn bad(key: Key, origin: &Origin, expected: String) -> ConfigError {
    ConfigError::Value { key, origin: origin.clone(), expected }
}

fn wanted(what: &str, raw: &Raw) -> String {
    match raw {
        Raw::Text(text) => format!("has to be {what}, not '{}'", shortened(text)),
        Raw::Integer(digits) => format!("has to be {what} from 0 on, and below 2^64, not {}", shortened(digits)),
        other => format!("has to be {what}, not {}", other.what()),
    }
}

fn scalar(raw: &Raw) -> Result<String, String> {
    match raw {
        Raw::Integer(digits) => Ok(digits.clone()),
        Raw::Text(text) if text.trim().is_empty() => Err("is empty: give it a value, or leave it out".to_owned()),
        Raw::Text(text) if text.len() > MAX_TEXT_BYTES => {
            Err(format!("is longer than {MAX_TEXT_BYTES} bytes: a name or a path is wanted, not what a file holds"))
        }
        Raw::Text(text) if text.chars().any(char::is_control) => {
            Err("holds a control character, such as a line break: write it without".to_owned())
        }
        Raw::Text(text) if holds_a_secret(text) => {
            Err("holds a credential: they come from the environment alone and do not belong into settings".to_owned())
        }
        Raw::Text(text) => Ok(text.clone()),
        Raw::Float(_) | Raw::Bool(_) => Err(format!("has to be text, not {}: put it in quotes", raw.what())),
        other => Err(format!("has to be text, not {}", other.what())),
    }
}

/// Enough of a value to recognise it by.
pub fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    let text = redacted(text);
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `500ms`, `30s`, `15m`, `23h`; not nothing.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, seconds) = match text.trim() {
        text if text.ends_with("ms") => {
            return parse_digits(&text[..text.len() - 2]).filter(|ms| *ms > 0).map(Duration::from_millis);
        }
        text if text.ends_with('s') => (&text[..text.len() - 1], 1),
        text if text.ends_with('m') => (&text[..text.len() - 1], 60),
        text if text.ends_with('h') => (&text[..text.len() - 1], 3600),
        _ => return None,
    };
    let count = parse_digits(digits).filter(|count| (1..=1_000_000).contains(count))?;
    Some(Duration::from_secs(count * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn layer(values: &Value) -> Layer {
        values
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let origin = Origin::Parameter;
                (Key::from_name(name).unwrap(), Written { raw: Raw::from(value), origin })
            })
            .collect()
    }

    fn checked(mut values: Value) -> Result<super::super::Config, String> {
        let object = values.as_object_mut().unwrap();
        object.entry("cohort_id").or_insert(json!("c"));
        object.entry("operation").or_insert(json!("add"));
        super::super::Config::check(&layer(&values), None).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = checked(json!({})).unwrap();
        assert_eq!((config.thread_count, config.partner.as_str(), config.shown_name()), (4, "treasure_data", "c"));
        assert_eq!(config.max_rejected, MaxRejected::Default);
        assert_eq!((config.max_outage.as_secs(), config.max_duration.as_secs()), (900, 82_800));
        assert!(config.names.aliases.is_empty() && config.endpoint.is_none() && config.input.is_none());
    }

    #[test]
    fn numbers_may_come_as_text_and_ids_as_integers() {
        let config =
            checked(json!({"cohort_id": 4711, "thread_count": "8", "expected_rows": "12", "max_outage": "90s"}))
                .unwrap();
        assert_eq!((config.cohort_id.as_str(), config.thread_count, config.expected_rows), ("4711", 8, Some(12)));
        assert_eq!(config.max_outage.as_secs(), 90);
    }

    #[test]
    fn a_job_is_named_by_digits_as_text_or_number() {
        for job in [json!("0123"), json!(123), json!("18446744073709551616")] {
            let id = job.as_str().map_or_else(|| job.to_string(), str::to_owned);
            assert_eq!(checked(json!({ "job_id": job })).unwrap().job_id, Some(id));
        }
        assert_eq!(checked(json!({ "job_id": null, "input": "a.csv" })).unwrap().job_id, None);
    }

    #[rstest]
    #[case(json!("a.example, b.example"))]
    #[case(json!(["a.example", "b.example"]))]
    fn more_hosts_are_a_list_or_text_with_commas(#[case] hosts: Value) {
        assert_eq!(checked(json!({ "allow_endpoint": hosts })).unwrap().allow_endpoint, ["a.example", "b.example"]);
    }

    #[rstest]
    #[case(json!("email, phone,"))]
    #[case(json!(["email", "phone"]))]
    fn aliases_are_a_list_or_text_with_commas(#[case] aliases: Value) {
        assert_eq!(checked(json!({ "aliases": aliases })).unwrap().names.aliases, ["email", "phone"]);
    }

    #[rstest]
    #[case(json!({"operation": "ad"}), "operation has to be 'add' or 'remove', not 'ad'")]
    #[case(json!({"thread_count": 0}), "from 1 to 256")]
    #[case(json!({"thread_count": "many"}), "thread_count has to be a whole number, not 'many'")]
    #[case(json!({"thread_count": 2.5}), "not a number that is not written in plain digits")]
    #[case(json!({"cohort_id": true}), "put it in quotes")]
    #[case(json!({"cohort_id": ["a"]}), "not a list")]
    #[case(json!({"cohort_id": null}), "cohort_id is required")]
    #[case(json!({"cohort_id": " "}), "is empty")]
    #[case(json!({"aliases": ["email", "email"]}), "twice")]
    #[case(json!({"aliases": "user_ids"}), "always read")]
    #[case(json!({"partner": "a/b"}), "segment")]
    #[case(json!({"max_rejected": "101%"}), "percentage")]
    #[case(json!({"max_outage": "15"}), "15m")]
    #[case(json!({"max_requests_per_hour": 0}), "at least 1")]
    #[case(json!({"expected_rows": -1}), "whole number")]
    #[case(json!({"job_id": "12a"}), "number of a job, such as ${td.last_job_id}, not '12a'")]
    #[case(json!({"job_id": -1}), "number of a job")]
    #[case(json!({"job_id": 1.5}), "has to be text")]
    #[case(json!({"job_id": ""}), "is empty")]
    #[case(json!({"job_id": "1".repeat(31)}), "number of a job")]
    #[case(json!({"job_id": 1, "input": "a.csv"}), "input is set beside job_id")]
    #[case(json!({"job_id": 1, "columns": "user_ids"}), "columns is set beside job_id")]
    #[case(json!({"job_id": 1, "format": "csv"}), "format is set beside job_id")]
    #[case(json!({"allow_endpoint": ["a.example", 1.5]}), "has to be text")]
    #[case(json!({"possible_count": 5}), "needs wanted_count")]
    #[case(json!({"wanted_count": 5}), "needs possible_count")]
    #[case(json!({"allow_removals": 5}), "needs possible_count and wanted_count")]
    #[case(json!({"possible_count": 5, "wanted_count": 5}), "needs operation_column")]
    #[case(json!({"possible_count": 5, "wanted_count": 5, "operation": null, "operation_column": "c", "input": "-"}), "read again")]
    #[case(json!({"possible_count": 5, "wanted_count": 5, "operation": null, "operation_column": "c", "allow_removals": "all"}), "whole number")]
    fn a_wrong_value_is_said_with_what_it_has_to_be(#[case] values: Value, #[case] message: &str) {
        let error = checked(values).unwrap_err();
        assert!(error.contains(message), "{error}");
    }

    #[rstest]
    #[case(MaxRejected::Default, 1000, 10, false)]
    #[case(MaxRejected::Default, 1001, 10, true)]
    #[case(MaxRejected::Default, 2000, 200_000, false)]
    #[case(MaxRejected::Count(0), 1, 1000, true)]
    #[case(MaxRejected::Percent(5), 50, 1000, false)]
    #[case(MaxRejected::Percent(5), 51, 1000, true)]
    fn the_limit_of_rejections(
        #[case] limit: MaxRejected,
        #[case] rejected: u64,
        #[case] rows: u64,
        #[case] passed: bool,
    ) {
        assert_eq!(limit.is_passed(rejected, rows), passed);
    }
}
