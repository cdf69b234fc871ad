//! The connection to an endpoint, from settings and environment; the same for every command.

use super::variable;
use crate::http::endpoint::Endpoint;
use crate::http::proxy::Proxy;
use crate::http::tls::Trust;
use crate::http::{Deadlines, Network};
use crate::settings::{Config, ConfigError};

/// Reads `ca_file` and the proxy variables. A loopback address is never reached through a proxy.
pub fn network(config: &Config, endpoint: &Endpoint) -> Result<Network, ConfigError> {
    let trust = match &config.ca_file {
        None => Trust::default(),
        Some(path) => Trust::with_file(path).map_err(|error| ConfigError::CaFile { path: path.clone(), error })?,
    };
    let proxy = if endpoint.is_loopback() { None } else { Proxy::from_environment(endpoint.as_str(), variable)? };
    let Deadlines { connect, .. } = Deadlines::default();
    let timeout = config.delivery.request_timeout;
    Ok(Network { proxy, trust, deadlines: Deadlines { connect: connect.min(timeout), send: timeout, answer: timeout } })
}
