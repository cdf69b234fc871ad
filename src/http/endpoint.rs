//! The addresses that may receive the data. Every request contains keys, so an address is checked first. It must be
//! https, and its host must be Braze's (or Treasure Data's, [`crate::treasure_data::address`]), allowed by name, or
//! this machine.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;
use ureq::http::Uri;
use ureq::http::uri::Authority;

/// A checked base address: scheme, host and port, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The address, such as `https://rest.iad-01.braze.com`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this machine itself.
    pub fn is_loopback(&self) -> bool {
        self.0.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(is_loopback))
    }

    /// A sandbox inside this process.
    pub fn of_sandbox(address: String) -> Self {
        Self(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why an address is refused. No message repeats user information, which may be a password.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Neither a URL nor the name of an instance.
    #[error(
        "is not valid: set the name of a Braze instance, such as US-03 or EU-01, or a URL, such as https://rest.iad-01.braze.com"
    )]
    NotAnAddress,
    /// A host without a scheme.
    #[error("has no scheme: write https:// before it")]
    NoScheme,
    /// `user:password@host`
    #[error("contains a user name (name@host): remove it")]
    UserInformation,
    /// There is text after the host.
    #[error("contains a path or a query: end it after the host")]
    Path,
    /// Not encrypted.
    #[error("is not https, so the credentials would be sent unencrypted: use https://")]
    NotHttps,
    /// The dashboard or the SDK's address.
    #[error("is the address of Braze's dashboard or SDK: use the REST endpoint, such as https://rest.iad-01.braze.com")]
    NotRest,
    /// An unknown host.
    #[error(
        "is not a Braze host, such as rest.iad-01.braze.com. Correct it, or if it is your own proxy, set allow_endpoint: {host}"
    )]
    ForeignHost {
        /// The host, which is no secret.
        host: String,
    },
    /// Not a URL of Treasure Data's API.
    #[error("is not a URL: set one such as https://api.treasuredata.com or https://api.eu01.treasuredata.com")]
    NotAServer,
    /// The address is in other tools' variable.
    #[error(
        "is read from TD_API_SERVER, not from this variable. TD_API_SERVER is not set, so your key would be sent to the US site: set \
         TD_API_SERVER to your site, such as https://api.eu01.treasuredata.com"
    )]
    NotRead,
    /// A host that is not Treasure Data's.
    #[error(
        "is not a Treasure Data host, such as api.treasuredata.com or api.eu01.treasuredata.com. Correct it, or if it is your own \
         proxy, set allow_endpoint: {host}"
    )]
    ForeignServer {
        /// The host, which is no secret.
        host: String,
    },
    /// `allow_endpoint` must list plain host names.
    #[error(
        "cannot be checked, because allow_endpoint is not valid: list host names there, without https:// and without a path"
    )]
    AllowedHost,
}

/// Checks an address, or finds the address of an instance. `allowed` are additional hosts that may receive the data.
pub fn parse(text: &str, allowed: &[String]) -> Result<Endpoint, EndpointError> {
    if let Some(host) = instance_host(text) {
        check_allowed(allowed)?;
        return Ok(Endpoint(format!("https://{host}")));
    }
    parse_address(text, allowed, EndpointError::NotAnAddress, |host| {
        if is_braze_host(host) {
            Ok(())
        } else if host.ends_with(".braze.com") || host.ends_with(".braze.eu") {
            Err(EndpointError::NotRest)
        } else {
            Err(EndpointError::ForeignHost { host: host.to_owned() })
        }
    })
}

/// Checks an address. `check_host` checks a host that is neither allowed nor this machine; `malformed` is the error for
/// text that is no address.
pub fn parse_address(
    text: &str,
    allowed: &[String],
    malformed: EndpointError,
    check_host: impl Fn(&str) -> Result<(), EndpointError>,
) -> Result<Endpoint, EndpointError> {
    check_allowed(allowed)?;
    let is_of_host = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | ':' | '/');
    if text.contains('.') && !text.contains("://") && text.chars().all(is_of_host) {
        return Err(EndpointError::NoScheme);
    }
    let Ok(uri) = text.parse::<Uri>() else { return Err(malformed) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(malformed);
    };
    if authority.as_str().contains('@') {
        return Err(EndpointError::UserInformation);
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
        return Err(EndpointError::Path);
    }
    let Some(host) = host_of(authority) else { return Err(malformed) };
    let host = host.to_ascii_lowercase();
    let is_allowed =
        allowed.iter().any(|name| name.eq_ignore_ascii_case(&host) || name.eq_ignore_ascii_case(authority.as_str()));
    if !(is_loopback(&host) && matches!(scheme, "http" | "https")) {
        if scheme != "https" {
            return Err(EndpointError::NotHttps);
        }
        if !is_allowed {
            check_host(&host)?;
        }
    }
    // The default port makes no other address, and no other state of a mirror.
    let authority = authority.as_str().to_ascii_lowercase();
    let authority = authority.strip_suffix(":443").filter(|_| scheme == "https").unwrap_or(&authority);
    Ok(Endpoint(format!("{scheme}://{authority}")))
}

/// The host, if only a port follows it. Any other text would be dropped, and the keys would go to another host.
fn host_of(authority: &Authority) -> Option<&str> {
    let (host, text) = (authority.host(), authority.as_str());
    let is_whole =
        text == host || authority.port_u16().is_some_and(|port| port > 0 && text == format!("{host}:{port}"));
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    };
    (is_whole && is_host).then_some(host)
}

fn check_allowed(allowed: &[String]) -> Result<(), EndpointError> {
    if allowed.iter().any(|name| name.is_empty() || name.contains(['/', '@', ' '])) {
        return Err(EndpointError::AllowedHost);
    }
    Ok(())
}

/// The sandbox and test servers; data sent there stays on this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Such as `rest.iad-01.braze.com`. Braze adds instances.
fn is_braze_host(host: &str) -> bool {
    let Some(instance) = host
        .strip_prefix("rest.")
        .and_then(|rest| rest.strip_suffix(".braze.com").or_else(|| rest.strip_suffix(".braze.eu")))
    else {
        return false;
    };
    instance.split_once('-').is_some_and(|(region, number)| {
        (2..=4).contains(&region.len()) && region.bytes().all(|letter| letter.is_ascii_lowercase()) && is_number(number)
    })
}

/// The REST host of an instance. First-generation hosts in the US and the EU are named after data centres, all others
/// after the instance.
fn instance_host(name: &str) -> Option<String> {
    let lower = name.trim().to_ascii_lowercase();
    let (region, number) = lower.split_once('-')?;
    if region.len() != 2 || !region.bytes().all(|letter| letter.is_ascii_lowercase()) || !is_number(number) {
        return None;
    }
    Some(match (region, number.starts_with('0')) {
        ("us", true) => format!("rest.iad-{number}.braze.com"),
        ("eu", _) => format!("rest.fra-{number}.braze.eu"),
        _ => format!("rest.{region}-{number}.braze.com"),
    })
}

fn is_number(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("US-01", "https://rest.iad-01.braze.com")]
    #[case("us-08", "https://rest.iad-08.braze.com")]
    #[case("US-10", "https://rest.us-10.braze.com")]
    #[case("EU-02", "https://rest.fra-02.braze.eu")]
    #[case("AU-01", "https://rest.au-01.braze.com")]
    #[case("KR-01", "https://rest.kr-01.braze.com")]
    #[case("https://rest.iad-03.braze.com", "https://rest.iad-03.braze.com")]
    #[case("https://REST.fra-01.braze.eu/", "https://rest.fra-01.braze.eu")]
    #[case("http://127.0.0.1:8080", "http://127.0.0.1:8080")]
    #[case("https://localhost:8443/", "https://localhost:8443")]
    #[case("https://rest.iad-01.braze.com:443", "https://rest.iad-01.braze.com")]
    #[case("http://[::1]:80", "http://[::1]:80")]
    fn accepts(#[case] text: &str, #[case] address: &str) {
        assert_eq!(parse(text, &[]).unwrap().as_str(), address);
    }

    #[rstest]
    #[case("", EndpointError::NotAnAddress)]
    #[case("rest.iad-01.braze.com", EndpointError::NoScheme)]
    #[case("proxy.example.com:8443", EndpointError::NoScheme)]
    #[case("rest.iad-01.braze.com/", EndpointError::NoScheme)]
    #[case("http://[::1].evil.example", EndpointError::NotAnAddress)]
    #[case("http://[::1]evil.example", EndpointError::NotAnAddress)]
    #[case("http://[::1]:80.evil.example", EndpointError::NotAnAddress)]
    #[case("http://[::1]:80:evil.example", EndpointError::NotAnAddress)]
    #[case("http://[127.0.0.1]", EndpointError::NotAnAddress)]
    #[case("http://[127.0.0.1].evil.example", EndpointError::NotAnAddress)]
    #[case("http://127.0.0.1:+80", EndpointError::NotAnAddress)]
    #[case("http://[::1", EndpointError::NotAnAddress)]
    #[case("http://::1]", EndpointError::NotAnAddress)]
    #[case("US-1", EndpointError::NotAnAddress)]
    #[case("https://", EndpointError::NotAnAddress)]
    #[case("http://127.0.0.1:", EndpointError::NotAnAddress)]
    #[case("http://127.0.0.1:0", EndpointError::NotAnAddress)]
    #[case("http://127.0.0.1:65536", EndpointError::NotAnAddress)]
    #[case("http://[::1]:99999", EndpointError::NotAnAddress)]
    #[case("https://rest.iad-03.braze.com:99999", EndpointError::NotAnAddress)]
    #[case("https://me:hush@rest.iad-01.braze.com", EndpointError::UserInformation)]
    #[case("https://rest.iad-01.braze.com/partners", EndpointError::Path)]
    #[case("https://rest.iad-01.braze.com/?a=b", EndpointError::Path)]
    #[case("http://rest.iad-01.braze.com", EndpointError::NotHttps)]
    #[case("ftp://127.0.0.1", EndpointError::NotHttps)]
    #[case("https://dashboard-01.braze.com", EndpointError::NotRest)]
    #[case("https://sdk.iad-01.braze.com", EndpointError::NotRest)]
    #[case("https://rest.iad-01.braze.com.evil.example", EndpointError::ForeignHost { host: "rest.iad-01.braze.com.evil.example".to_owned() })]
    #[case("https://evil-braze.com", EndpointError::ForeignHost { host: "evil-braze.com".to_owned() })]
    #[case("https://127.0.0.1.evil.example", EndpointError::ForeignHost { host: "127.0.0.1.evil.example".to_owned() })]
    #[case("https://10.0.0.1", EndpointError::ForeignHost { host: "10.0.0.1".to_owned() })]
    fn refuses(#[case] text: &str, #[case] error: EndpointError) {
        assert_eq!(parse(text, &[]), Err(error));
    }

    #[test]
    fn another_host_is_allowed_by_its_very_name_and_with_https_only() {
        let allowed = ["other.example.com", "proxy.example.com"].map(str::to_owned);
        assert!(parse("https://proxy.example.com", &allowed).is_ok());
        assert!(parse("https://proxy.example.com:8443", &allowed).is_ok());
        assert!(parse("https://other.example.com", &allowed).is_ok());
        assert!(parse("https://a.proxy.example.com", &allowed).is_err());
        assert_eq!(parse("http://proxy.example.com", &allowed), Err(EndpointError::NotHttps));
        let with_scheme = ["https://proxy.example.com".to_owned()];
        assert_eq!(parse("https://proxy.example.com", &with_scheme), Err(EndpointError::AllowedHost));
    }
}
