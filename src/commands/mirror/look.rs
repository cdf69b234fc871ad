//! What `check` finds out about a mirror without changing its cohort or its state.

use std::time::Duration;

use super::warehouse;
use crate::commands::context::RunContext;
use crate::commands::job::Access;
use crate::commands::outcome::{Api, Stop};
use crate::commands::variable;
use crate::commands::watch::cutting;
use crate::mirror::error::MirrorError;
use crate::mirror::treasure_data::{StateStatus, TreasureData};
use crate::settings::ConfigError;
use crate::settings::credentials::from_environment;

/// The limit for checks that run a job.
const MOST: Duration = Duration::from_mins(2);

/// Calls `look` with the table and its state, within two minutes.
fn looking<T>(
    context: &RunContext,
    look: impl FnOnce(&mut TreasureData<'_, Stop>) -> Result<T, Box<Stop>>,
) -> Result<T, Stop> {
    let options = context.config.mirror.as_ref().ok_or(ConfigError::NoMirror)?;
    let credentials = from_environment(variable)?;
    let access = Access::new(&context.config)?;
    let limiter = context.limiter_of_step(Api::TreasureData, access.server.as_str(), MOST)?;
    let work = || {
        let (mut warehouse, _) = warehouse(&access, &limiter, &context.config, options, &credentials)?;
        let found = look(&mut warehouse);
        if let Some(job) = warehouse.running() {
            Access::new(&context.config)?.api(&limiter).kill(job);
        }
        Ok(found?)
    };
    cutting(&access.http, &limiter, work)
}

/// Tries what a mirror relies on, in the Treasure Data account itself. Returns the facts.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is of one lifetime only")]
pub fn facts(context: &RunContext) -> Result<Vec<String>, Stop> {
    let facts = looking(context, |warehouse| warehouse.facts())?;
    match facts.iter().find(|(_, holds)| !holds) {
        Some((fact, _)) => Err(MirrorError::Fact { fact: *fact }.into()),
        None => Ok(facts.iter().map(|(fact, _)| fact.to_string()).collect()),
    }
}

/// The state's progress.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is of one lifetime only")]
pub fn status(context: &RunContext) -> Result<String, Stop> {
    let found = looking(context, |warehouse| warehouse.status())?;
    let cohort_id = &context.config.braze.cohort_id;
    let Some(StateStatus { version, committed, wanted, to_remove, to_add }) = found else {
        return Ok(format!(
            "the cohort {cohort_id} has no state: no mirror has run yet, or its state is elsewhere (state_table)"
        ));
    };
    let time = i64::try_from(committed).ok().filter(|_| committed > 0);
    let time = time.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).map(|time| time.to_string());
    let at_work = if version % 2 == 1 {
        "a run is in progress or did not finish; the next one continues"
    } else {
        "no run is in progress"
    };
    Ok(format!(
        "the cohort {cohort_id}, version {version} of its state: {at_work}; last commit {}; identifiers: {wanted} wanted, {to_remove} to remove, \
         {to_add} to add",
        time.as_deref().unwrap_or("never")
    ))
}
