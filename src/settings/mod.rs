//! In: written settings. Out: a checked [`Config`] with the options of each module. It never reads an input or sends anything.
//!
//! Layers of written settings (environment, YAML, a workflow's map, flags) become one checked [`Config`], exactly
//! once. What a setting is called and may be is in [`setting`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

mod checks;
pub mod credentials;
mod error;
pub mod raw;
pub mod schema;
pub mod setting;
pub mod template;
mod values;
pub mod yaml;

use crate::delivery::{self, safe_path};
use crate::http::endpoint::Endpoint;
use crate::members::operation::{MIRROR, Operations};
use crate::{braze, input, matching, mirror};
pub use error::ConfigError;
use raw::{Located, Origin, RawValue, SettingsLayer};
use setting::{Key, SETTINGS};
use template::Lookup;
use values::Values;
pub use values::parse_duration;

/// The settings of one upload, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Add or remove, or both.
    pub operations: Operations,
    /// The cohort, and where Braze is.
    pub braze: braze::Options,
    /// What is read.
    pub input: input::Options,
    /// What Braze has to know of it.
    pub matching: matching::Options,
    /// What a mirror is to do, where the operation is one.
    pub mirror: Option<mirror::Options>,
    /// How it is sent.
    pub delivery: delivery::Options,
    /// More hosts that may be called.
    pub allow_endpoint: Vec<String>,
    /// Certificates of further CAs to trust.
    pub ca_file: Option<PathBuf>,
    /// Whether nothing is sent.
    pub dry_run: bool,
    /// Whether a run is a check.
    pub check_only: bool,
}

/// The settings of all places, the later ones over the earlier ones.
#[derive(Debug, Default)]
pub struct Merged {
    /// What holds.
    pub layer: SettingsLayer,
    /// Settings of the file that something above it has changed.
    pub changed: Vec<Key>,
}

/// Puts the environment, the file and what stands above it (flags, or a workflow's map) over each other.
pub fn merge(
    file: Option<&Path>,
    lookup: &dyn Lookup,
    above: SettingsLayer,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Merged, ConfigError> {
    let mut merged = Merged::default();
    for setting in SETTINGS {
        let Some(name) = setting.variable else { continue };
        if let Some(text) = variable(name).filter(|text| !text.trim().is_empty()) {
            merged.layer.insert(setting.key, Located { raw: RawValue::Text(text), origin: Origin::Environment(name) });
        }
    }
    if let Some(path) = file {
        let mut layer = read_file(path)?;
        merged.changed = drop_overridden(&mut layer, &above);
        overlay(&mut merged.layer, fill_in(layer, lookup)?);
    }
    overlay(&mut merged.layer, above);
    Ok(merged)
}

/// Reads the settings of a YAML file.
pub fn read_file(path: &Path) -> Result<SettingsLayer, ConfigError> {
    let mut bytes = Vec::new();
    // One byte more than the limit: a device may have no end.
    File::open(path)
        .and_then(|file| file.take(yaml::MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    yaml::read(path, bytes)
}

/// Leaves out what something above takes the place of, as nobody may be there to fill in its templates; and says which of it had
/// another value.
fn drop_overridden(layer: &mut SettingsLayer, above: &SettingsLayer) -> Vec<Key> {
    let mut changed = Vec::new();
    layer.retain(|key, written| {
        let over = is_set(above, *key).then(|| &above[key].raw);
        let is_replaced = over.is_some() || counterparts(*key).iter().any(|other| is_set(above, *other));
        if is_replaced && written.raw != RawValue::Null && over != Some(&written.raw) {
            changed.push(*key);
        }
        !is_replaced
    });
    changed
}

/// Fills in the templates of a file.
fn fill_in(layer: SettingsLayer, lookup: &dyn Lookup) -> Result<SettingsLayer, ConfigError> {
    let filled = layer.into_iter().map(|(key, Located { raw, origin })| {
        if !key.setting().from_workflow {
            return Ok((key, Located { raw, origin }));
        }
        match template::expand(raw, lookup) {
            Ok(raw) => Ok((key, Located { raw, origin })),
            Err(error) => Err(ConfigError::Template { key, origin, error }),
        }
    });
    filled.collect()
}

/// Puts a later layer over an earlier one, key by key. What is null in the later one changes nothing. A file, a job and a table are
/// ways to say what is read, so one of them takes the place of the others.
fn overlay(below: &mut SettingsLayer, above: SettingsLayer) {
    let above: SettingsLayer = above.into_iter().filter(|(_, written)| written.raw != RawValue::Null).collect();
    for other in above.keys().flat_map(|key| counterparts(*key)) {
        below.remove(other);
    }
    below.extend(above);
}

/// The other ways to say the same.
fn counterparts(key: Key) -> &'static [Key] {
    match key {
        Key::Input => &[Key::JobId, Key::Table],
        Key::JobId => &[Key::Input, Key::Table],
        Key::Table => &[Key::Input, Key::JobId],
        _ => &[],
    }
}

fn is_set(layer: &SettingsLayer, key: Key) -> bool {
    layer.get(&key).is_some_and(|written| written.raw != RawValue::Null)
}

impl Config {
    /// Checks every setting. Only what asks Braze `needs_endpoint`, and a dry run does not, but that of a mirror: its state is kept for
    /// one endpoint.
    pub fn check(layer: &SettingsLayer, needs_endpoint: bool) -> Result<Self, ConfigError> {
        let values = Values::new(layer)?;
        let dry_run = values.flag(Key::DryRun)?;
        let check_only = values.flag(Key::CheckOnly)?;
        let is_mirror = values.text(Key::Operation)?.is_some_and(|name| name == MIRROR);
        let needs_endpoint = needs_endpoint && (check_only || !dry_run || is_mirror);
        values.check_required(needs_endpoint)?;
        let operations = values.operations()?;
        let allow_endpoint = values.list(Key::AllowEndpoint)?;
        let request_timeout = values.required_duration(Key::RequestTimeout)?;
        Ok(Self {
            braze: braze::Options {
                cohort_id: values.required_text(Key::CohortId)?,
                cohort_name: values.text(Key::CohortName)?,
                endpoint: values.endpoint(&allow_endpoint, needs_endpoint)?,
                partner: values.required_text(Key::Partner)?,
            },
            input: input::Options {
                location: values.location()?,
                format_hint: values.format_hint()?,
                names: values.names_of_columns(operations.column())?,
                expected_rows: values.whole(Key::ExpectedRows)?,
                max_rejected: values.max_rejected()?,
            },
            mirror: values.mirror(&operations)?,
            matching: matching::Options { min_match: values.percent(Key::MinMatch)? },
            delivery: delivery::Options {
                thread_count: values.required_whole(Key::ThreadCount)?,
                failed_file: values.path(Key::FailedFile)?,
                max_outage: values.required_duration(Key::MaxOutage)?,
                max_duration: values.required_duration(Key::MaxDuration)?,
                grace: values.duration(Key::Grace)?.unwrap_or(2 * request_timeout),
                max_refused: values.required_whole(Key::MaxRefused)?,
                request_timeout,
                max_requests_per_hour: values.required_whole(Key::MaxRequestsPerHour)?,
            },
            operations,
            allow_endpoint,
            ca_file: values.path(Key::CaFile)?,
            dry_run,
            check_only,
        })
    }

    /// The endpoint, where one has to be there.
    pub fn required_endpoint(&self) -> Result<&Endpoint, ConfigError> {
        let missing = || ConfigError::Missing { keys: vec![Key::Endpoint], outside: Vec::new() };
        self.braze.endpoint.as_ref().ok_or_else(missing)
    }

    /// Whether the failed file is none of the input.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        match &self.delivery.failed_file {
            Some(path) if self.reads(path) => Err(ConfigError::SameFile),
            _ => Ok(()),
        }
    }

    /// Whether a file is one of the input.
    pub fn reads(&self, path: &Path) -> bool {
        // A file that is not there yet is told by its folder.
        let resolved = |path: &Path| {
            let path = safe_path::resolve(path).unwrap_or(path.to_owned());
            let in_folder =
                || Ok(safe_path::folder_of(&path).canonicalize()?.join(path.file_name().unwrap_or_default()));
            path.canonicalize().or_else(|_: io::Error| in_folder()).unwrap_or_else(|_: io::Error| path.clone())
        };
        // Whatever is wrong with the input is said when it is opened.
        self.input.location.files().iter().any(|input| resolved(input) == resolved(path))
    }
}
