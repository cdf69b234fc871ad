//! The proxy in the environment, and its exceptions. Pure: the environment is an argument.

use std::fmt;

use thiserror::Error;
use ureq::ProxyProtocol;
use ureq::http::Uri;

/// The variables that name a proxy. The first one that is set counts. `HTTP_PROXY` is for unencrypted addresses, which
/// exist only on this machine.
pub const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy that supports CONNECT. Its user and password are never printed.
#[derive(Clone)]
pub struct Proxy {
    pub(super) inner: ureq::Proxy,
    variable: &'static str,
}

/// Why the proxy of a variable cannot be used. The value may contain a password and is not repeated.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the environment variable {variable} {problem}")]
pub struct ProxyError {
    /// Which variable.
    pub variable: &'static str,
    /// What is wrong with its value.
    pub problem: &'static str,
}

impl Proxy {
    /// The proxy for the host of this address, if one is set.
    pub fn from_environment(
        address: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ProxyError> {
        let set = |names: &[&'static str]| {
            names
                .iter()
                .find_map(|name| variable(name).filter(|value| !value.trim().is_empty()).map(|value| (*name, value)))
        };
        let Some((name, value)) = set(&PROXY_VARIABLES) else { return Ok(None) };
        if set(&NO_PROXY_VARIABLES).is_some_and(|(_, list)| is_excepted(address, &list)) {
            return Ok(None);
        }
        Self::parse(name, value.trim()).map(Some)
    }

    fn parse(variable: &'static str, value: &str) -> Result<Self, ProxyError> {
        let wrong = |problem| ProxyError { variable, problem };
        let malformed = || wrong("is not the address of a proxy: set one such as http://proxy.example.com:3128");
        let inner = ureq::Proxy::new(value).map_err(|_| malformed())?;
        let authority = inner.uri().authority().ok_or_else(malformed)?;
        let names_a_port =
            authority.as_str().rsplit('@').next().is_some_and(|rest| rest.len() > authority.host().len());
        if authority.host().is_empty() || (names_a_port && authority.port_u16().is_none_or(|port| port == 0)) {
            return Err(malformed());
        }
        match inner.protocol() {
            ProxyProtocol::Http | ProxyProtocol::Https => Ok(Self { inner, variable }),
            _ => Err(wrong("names a SOCKS proxy, which is not supported: use a proxy at http:// or https://")),
        }
    }

    /// Its address and its variable, for messages.
    pub fn label(&self) -> String {
        format!("{}:{} ({})", self.inner.host(), self.inner.port(), self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Proxy({}:{})", self.inner.host(), self.inner.port())
    }
}

/// Whether a list such as `localhost,.example.com,10.0.0.1` contains this address's host. A name matches the host and
/// those below it, with a leading dot only those below it. `*` matches all.
fn is_excepted(address: &str, list: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(443).to_string();
    list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(
        |entry| {
            let (name, of_port) = match entry.rsplit_once(':') {
                // A second colon makes it an IPv6 address.
                Some((name, of_port)) if !name.contains(':') || name.ends_with(']') => (name, Some(of_port)),
                _ => (entry.as_str(), None),
            };
            let name = name.trim_matches(['[', ']']);
            let name = name.strip_prefix('*').unwrap_or(name);
            let is_below =
                |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
            let is_named = match name.strip_prefix('.') {
                Some(domain) => is_below(domain),
                None => name.is_empty() || host == name || is_below(name),
            };
            is_named && of_port.is_none_or(|of_port| of_port == port)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn proxy(variables: &[(&str, &str)]) -> Result<Option<String>, ProxyError> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let proxy = Proxy::from_environment("https://rest.iad-03.braze.com", variable)?;
        Ok(proxy.map(|proxy| proxy.label()))
    }

    #[rstest]
    #[case(&[], None)]
    #[case(&[("HTTPS_PROXY", "")], None)]
    #[case(&[("HTTP_PROXY", "http://a:1")], None)]
    #[case(&[("HTTPS_PROXY", "http://a:1"), ("ALL_PROXY", "http://b:2")], Some("a:1 (HTTPS_PROXY)"))]
    #[case(&[("HTTPS_PROXY", ""), ("https_proxy", "c:3")], Some("c:3 (https_proxy)"))]
    #[case(&[("ALL_PROXY", "http://b")], Some("b:80 (ALL_PROXY)"))]
    #[case(&[("all_proxy", "https://u:p%40ss@b")], Some("b:443 (all_proxy)"))]
    #[case(&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", ".braze.com")], None)]
    #[case(&[("HTTPS_PROXY", "rubbish://"), ("no_proxy", "*")], None)]
    fn the_first_variable_that_is_set_names_the_proxy(
        #[case] variables: &[(&str, &str)],
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(proxy(variables).unwrap().as_deref(), expected);
    }

    #[rstest]
    #[case("http://")]
    #[case("://hush:hush@a")]
    #[case("htp://hush@a:1")]
    #[case("http://a:port")]
    #[case("http://a:99999")]
    #[case("http://a:")]
    #[case("http://a b")]
    #[case("socks5://hush:hush@a:1080")]
    fn what_is_no_usable_proxy_is_refused_without_its_value(#[case] value: &str) {
        let error = proxy(&[("HTTPS_PROXY", value)]).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("hush"), "{error}");
    }

    #[rstest]
    #[case("*", true)]
    #[case("rest.iad-03.braze.com", true)]
    #[case("REST.iad-03.Braze.com", true)]
    #[case("localhost, .braze.com", true)]
    #[case("*.braze.com", true)]
    #[case("braze.com", true)]
    #[case("braze.com:443", true)]
    #[case("braze.com:8443", false)]
    #[case("aze.com", false)]
    #[case(".rest.iad-03.braze.com", false)]
    #[case("rest.iad-03.braze.com.example", false)]
    #[case("", false)]
    #[case(",,", false)]
    #[case("::1", false)]
    fn hosts_are_excepted_by_name_and_by_domain(#[case] list: &str, #[case] expected: bool) {
        assert_eq!(is_excepted("https://rest.iad-03.braze.com", list), expected);
    }

    #[test]
    fn addresses_are_excepted_as_they_are() {
        assert!(is_excepted("https://10.0.0.1:8443", "10.0.0.1"));
        assert!(!is_excepted("https://110.0.0.1", "10.0.0.1"));
        assert!(is_excepted("https://[fd00::1]", "fd00::1"));
        assert!(is_excepted("https://[fd00::1]:8443", "[fd00::1]:8443"));
    }
}
