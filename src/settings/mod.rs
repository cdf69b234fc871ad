//! In: layers of written settings (environment, YAML, a workflow's map, flags). Out: a checked [`Config`] with the
//! options of each module. It never reads an input or sends anything.
//!
//! [`setting`] has the names and values of all settings.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::info;
use serde_json::Value;

mod checks;
pub mod credentials;
mod error;
mod kind;
pub mod placeholder;
pub mod raw;
pub mod schema;
pub mod setting;
pub mod template;
mod values;
pub mod yaml;

use crate::http::endpoint::Endpoint;
use crate::members::operation::{MIRROR, Operations};
use crate::{braze, delivery, input, matching, mirror};
pub use error::ConfigError;
use raw::{Located, Origin, SettingsLayer};
use setting::{Key, SETTINGS, names};
use template::Lookup;
use values::Values;
pub use values::{parse_duration, problem};

/// The settings of one upload, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Add or remove, or both.
    pub operations: Operations,
    /// The cohort, and how Braze is reached.
    pub braze: braze::Options,
    /// What is read.
    pub input: input::Options,
    /// How much of the input Braze must know.
    pub matching: matching::Options,
    /// The options of a mirror, if the operation is one.
    pub mirror: Option<mirror::Options>,
    /// How the input is sent.
    pub delivery: delivery::Options,
    /// Additional hosts that may be called.
    pub allow_endpoint: Vec<String>,
    /// A file with additional CAs to trust.
    pub ca_file: Option<PathBuf>,
    /// Whether nothing is sent.
    pub dry_run: bool,
    /// Whether a run is a check.
    pub check_only: bool,
}

/// Merges the settings. The file overrides the environment, and `above` (flags, or a workflow's map) overrides both.
/// What a workflow changes is logged.
pub fn merge(
    file: Option<&Path>,
    lookup: &Lookup<'_>,
    above: SettingsLayer,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<SettingsLayer, ConfigError> {
    let mut merged = SettingsLayer::new();
    for setting in SETTINGS {
        let Some(name) = setting.variable else { continue };
        if let Some(text) = variable(name).filter(|text| !text.trim().is_empty()) {
            merged.insert(setting.key, Located { raw: text.into(), origin: Origin::Environment(name) });
        }
    }
    if let Some(path) = file {
        let mut layer = read_file(path)?;
        let changed = drop_overridden(&mut layer, &above);
        if matches!(lookup, Lookup::Parameters(_)) && !changed.is_empty() {
            info!("the workflow's map braze_cohort changes what {} says: {}", path.display(), names(&changed));
        }
        overlay(&mut merged, fill_in(layer, lookup)?);
    }
    overlay(&mut merged, above);
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

/// Drops what `above` overrides, because its templates may have no values. Returns the settings whose value differs.
fn drop_overridden(layer: &mut SettingsLayer, above: &SettingsLayer) -> Vec<Key> {
    // Numbers may be text.
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut changed = Vec::new();
    layer.retain(|key, written| {
        let over = above.get(key).map(|over| text(&over.raw));
        let is_replaced = over.is_some() || counterparts(*key).any(|other| above.contains_key(&other));
        if is_replaced && !written.raw.is_null() && over != Some(text(&written.raw)) {
            changed.push(*key);
        }
        !is_replaced
    });
    changed
}

fn fill_in(layer: SettingsLayer, lookup: &Lookup<'_>) -> Result<SettingsLayer, ConfigError> {
    let fill = |(key, Located { raw, origin }): (Key, Located)| {
        let filled = if key.setting().from_workflow { template::expand(raw, lookup) } else { Ok(raw) };
        match filled {
            Ok(raw) => Ok((key, Located { raw, origin })),
            Err(error) => Err(ConfigError::Template { key, origin, error }),
        }
    };
    layer.into_iter().map(fill).collect()
}

/// Puts a later layer over an earlier one, key by key. A null in the later layer changes nothing.
fn overlay(below: &mut SettingsLayer, mut above: SettingsLayer) {
    above.retain(|_, written| !written.raw.is_null());
    below.retain(|key, _| !counterparts(*key).any(|other| above.contains_key(&other)));
    below.extend(above);
}

/// A file, a job and a table exclude each other. One of them in a later layer replaces the others.
fn counterparts(key: Key) -> impl Iterator<Item = Key> {
    const SOURCES: [Key; 3] = [Key::Input, Key::JobId, Key::Table];
    SOURCES.into_iter().filter(move |other| SOURCES.contains(&key) && *other != key)
}

impl Config {
    /// Checks every setting. `needs_endpoint` if Braze is called. A dry run needs none unless it is a mirror's, whose
    /// state belongs to one endpoint.
    pub fn check(layer: &SettingsLayer, needs_endpoint: bool) -> Result<Self, ConfigError> {
        let values = Values::new(layer)?;
        let dry_run = values.flag(Key::DryRun)?;
        let check_only = values.flag(Key::CheckOnly)?;
        let is_mirror = values.text(Key::Operation)?.is_some_and(|name| name == MIRROR);
        let needs_endpoint = needs_endpoint && (check_only || !dry_run || is_mirror);
        values.check_required(needs_endpoint)?;
        let operations = values.operations()?;
        let allow_endpoint = values.list(Key::AllowEndpoint)?;
        let request_timeout = values.required(Key::RequestTimeout, Values::duration)?;
        Ok(Self {
            braze: braze::Options {
                cohort_id: values.required(Key::CohortId, Values::text)?,
                cohort_name: values.text(Key::CohortName)?,
                endpoint: values.endpoint(&allow_endpoint, needs_endpoint)?,
                partner: values.required(Key::Partner, Values::text)?,
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
                thread_count: values.required(Key::ThreadCount, Values::whole)?,
                failed_file: values.text(Key::FailedFile)?.map(PathBuf::from),
                max_outage: values.required(Key::MaxOutage, Values::duration)?,
                max_duration: values.required(Key::MaxDuration, Values::duration)?,
                grace: values.duration(Key::Grace)?.unwrap_or(2 * request_timeout),
                max_refused: values.required(Key::MaxRefused, Values::whole)?,
                request_timeout,
                max_requests_per_hour: values.required(Key::MaxRequestsPerHour, Values::whole)?,
            },
            operations,
            allow_endpoint,
            ca_file: values.text(Key::CaFile)?.map(PathBuf::from),
            dry_run,
            check_only,
        })
    }

    /// The endpoint, for callers of Braze.
    pub fn required_endpoint(&self) -> Result<&Endpoint, ConfigError> {
        self.braze.endpoint.as_ref().ok_or_else(|| values::missing(Key::Endpoint))
    }

    /// Whether a file is one of the input.
    pub fn reads(&self, path: &Path) -> bool {
        let identity = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        // Errors about the input are reported when it is opened.
        let files = self.input.location.files();
        identity(path).is_some_and(|own| files.iter().any(|file| identity(file) == Some(own)))
    }
}
