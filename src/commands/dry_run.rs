//! A run that sends nothing: everything but the requests to Braze, and what they would be.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::HeaderMap;
use crate::http::header::CONTENT_LENGTH;

use crate::braze::Addresses;
use crate::braze::body::{BodyWriter, Credentials};
use crate::delivery::Plan;
use crate::http::{Answer, HttpError, Post};
use crate::report::DryRun;
use crate::secret::Secret;
use crate::settings::Config;

/// Takes requests, counts them, and sends them nowhere.
#[derive(Default)]
pub(super) struct Nowhere {
    batches: AtomicU64,
    bytes: AtomicU64,
}

impl Nowhere {
    /// The requests that there would be.
    pub fn counted(&self) -> DryRun {
        DryRun { batches: self.batches.load(Ordering::Relaxed), bytes: Some(self.bytes.load(Ordering::Relaxed)) }
    }
}

impl Post for Nowhere {
    fn post(&self, _: &str, body: &[u8]) -> Result<Answer, HttpError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        let said = br#"{"message":"success"}"#;
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, said.len().into())]);
        Ok(Answer { status: 201, headers, body: said.to_vec() })
    }

    fn cut(&self) {}
}

/// As for an upload, without addresses and keys.
pub(super) fn plan(config: &Config) -> Plan {
    let nothing = || Secret::new(String::new());
    let credentials = Credentials { client_secret: nothing(), partner_api_key: nothing() };
    let bodies = BodyWriter::new(&credentials, &config.braze.cohort_id, &config.input.names.aliases);
    let addresses = Addresses { cohorts: String::new(), users: String::new() };
    Plan { addresses, bodies, thread_count: config.delivery.thread_count, first_call: None }
}
