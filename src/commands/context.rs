//! What a run needs from its start to its end, and the rate limiters that end it.

use std::sync::Arc;
use std::time::Duration;

use super::sandbox::Embedded;
use super::signals;
use crate::commands::outcome::{Api, Stop};
use crate::delivery;
use crate::retry::{Clock, LimitReached, Limits, Monotonic, RateLimiter};
use crate::settings::Config;
use crate::treasure_data::show::JobSummary;

/// The longest time for a step of a check, because a person waits for it.
pub(super) const MAX_STEP: Duration = Duration::from_secs(10);
/// The longest time in a step without a successful request. It is shorter, so that the reason is shown.
const MAX_STEP_OUTAGE: Duration = Duration::from_secs(4);
/// Requests per hour. Treasure Data documents no limit; this one stops a bug from sending requests forever.
const MAX_REQUESTS_TO_TREASURE_DATA: u64 = 100_000;

/// What a run needs from its start to its end.
pub struct RunContext {
    /// The settings.
    pub config: Config,
    /// If set, it gets the members instead of Braze.
    pub sandbox: Option<Arc<Embedded>>,
    /// The time of the workflow's session.
    pub session_time: Option<String>,
    /// Measures from the start of the run.
    pub clock: Arc<dyn Clock>,
    /// The job whose result is read, once it is known.
    pub job: Option<JobSummary>,
    /// The last upload of this session: the number of its job, and its cohort.
    pub uploaded: Option<(String, String)>,
}

impl RunContext {
    /// A run that begins now.
    pub fn new(config: Config, session_time: Option<String>) -> Self {
        let clock = Arc::new(Monotonic::default());
        Self { config, sandbox: None, session_time, clock, job: None, uploaded: None }
    }

    /// The limiter for all requests to one server. A signal stops it.
    pub fn limiter(&self, api: Api, address: &str) -> Result<Arc<RateLimiter<Stop>>, Stop> {
        let delivery::Options { max_outage, max_duration, max_requests_per_hour, .. } = self.config.delivery;
        let max_requests_per_hour = match api {
            Api::TreasureData => MAX_REQUESTS_TO_TREASURE_DATA,
            Api::Braze if self.config.dry_run => u64::MAX,
            Api::Braze => max_requests_per_hour,
        };
        let limits = Limits { max_outage, max_requests_per_hour, max_duration };
        self.start(limits, Stop::of_limiter(api, address.to_owned()))
    }

    /// The limiter for one step of a check, which may take `most`.
    pub fn limiter_of_step(&self, api: Api, address: &str, most: Duration) -> Result<Arc<RateLimiter<Stop>>, Stop> {
        let max_outage = self.config.delivery.max_outage.min(MAX_STEP_OUTAGE);
        let limits = Limits { max_outage, max_requests_per_hour: u64::MAX, max_duration: self.clock.now() + most };
        let stop_for = Stop::of_limiter(api, address.to_owned());
        self.start(limits, move |reached| match reached {
            LimitReached::Deadline { .. } => {
                stop_for(LimitReached::Outage { lasted: most, answered: false, last: "no answer".to_owned() })
            }
            other => stop_for(other),
        })
    }

    fn start(
        &self,
        limits: Limits,
        stop_for: impl Fn(LimitReached) -> Stop + Send + Sync + 'static,
    ) -> Result<Arc<RateLimiter<Stop>>, Stop> {
        let limiter = Arc::new(RateLimiter::new(limits, Arc::clone(&self.clock), stop_for));
        signals::stop_on_signal(&limiter).map_err(Stop::Signals)?;
        Ok(limiter)
    }
}
