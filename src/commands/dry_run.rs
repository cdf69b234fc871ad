//! A run that sends nothing: everything but the requests to Braze, and what they would be.

use super::CommandError;
use super::job::{self, Beginning};
use super::pipeline::{Finished, account, ended_before_reading, finished, open};
use crate::braze::body::{BodyWriter, Credentials};
use crate::commands::outcome::Stop;
use crate::delivery::Shared;
use crate::delivery::counts::Sent;
use crate::input::reader::Reader;
use crate::report::{DryRun, Part};
use crate::secret::Secret;
use crate::settings::Config;

/// Reads and judges the input as an upload does.
pub(super) fn dry_run(config: &Config) -> Result<Finished, CommandError> {
    let mut beginning = Beginning::default();
    let rows = match job::rows(config, &mut beginning)? {
        Ok(rows) => rows,
        Err(stop) => return Ok(ended_before_reading(config, &beginning, stop, Some(DryRun::default()))),
    };
    let (reader, rest) = open(config, &rows)?;
    let (mut planned, shared) = (DryRun::default(), Shared::new(config.input.names.aliases.len()));
    let bodies = dry_bodies(config);
    let is_wanted = || beginning.shutdown.reason().is_none();
    let mut read = |reader: Reader| {
        let mut body = Vec::new();
        reader.read(
            |account| shared.input().clone_from(account),
            |batch| {
                bodies.write(&batch, &mut body);
                planned.batches += 1;
                planned.bytes += body.len() as u64;
                is_wanted()
            },
            |_| {},
        )
    };
    let (result, removals) = match rest {
        None => (read(reader), None),
        Some(rest) => {
            let mut removals = Part::default();
            let result = reader.judge(is_wanted).and_then(|_| rest.removals.begin()).and_then(|reader| {
                read(reader)?;
                let counted = shared.input().clone();
                removals.identifiers = counted.identifiers();
                if is_wanted() { read(rest.additions.begin()?.counting_on(counted)) } else { Ok(()) }
            });
            (result, Some(removals))
        }
    };
    let too_many = || {
        let (limits, removals) = (config.input.removal_limits?, removals.as_ref()?);
        limits.check(removals.identifiers).err().map(Stop::TooManyRemovals)
    };
    let stop = result.err().map(Stop::Input).or_else(|| beginning.shutdown.reason()).or_else(too_many);
    let input = shared.input().clone();
    let account = account(config, input, Sent::default(), beginning.clock.now(), Some(planned), removals);
    Ok(finished(account, stop))
}

fn dry_bodies(config: &Config) -> BodyWriter {
    let nothing = || Secret::new(String::new());
    let credentials = Credentials { client_secret: nothing(), partner_api_key: nothing() };
    BodyWriter::new(&credentials, &config.braze.cohort_id, &config.input.names.aliases)
}
