//! The address of Treasure Data's API. Every request contains the key, so the same rule applies as for Braze: https,
//! and a host that is Treasure Data's, allowed by name, or this machine.

use crate::http::endpoint::{Endpoint, EndpointError, parse_address};

/// The variable with the site's address, as in Treasure Data's own clients.
pub const TD_API_SERVER: &str = "TD_API_SERVER";
/// Its name in other Treasure Data tools.
pub const TD_ENDPOINT: &str = "TD_ENDPOINT";
/// The US site.
pub const DEFAULT: &str = "https://api.treasuredata.com";

/// Checks the address of a site; `allowed` are additional hosts that may be called.
pub fn parse(text: &str, allowed: &[String]) -> Result<Endpoint, EndpointError> {
    parse_address(text, allowed, EndpointError::NotAServer, |host| {
        if is_td_host(host) { Ok(()) } else { Err(EndpointError::ForeignServer { host: host.to_owned() }) }
    })
}

/// `api.treasuredata.com`, `api.eu01.treasuredata.com`: a pattern, because sites are added.
fn is_td_host(host: &str) -> bool {
    if host == "api.treasuredata.com" || host == "api.treasuredata.co.jp" {
        return true;
    }
    let Some(api) = host.strip_suffix(".treasuredata.com") else { return false };
    api.strip_prefix("api.").or_else(|| api.strip_prefix("api-")).is_some_and(is_label)
}

fn is_label(text: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    !text.is_empty() && text.bytes().all(is_letter) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://api.treasuredata.com")]
    #[case("https://api.eu01.treasuredata.com")]
    #[case("https://api.ap02.treasuredata.com")]
    #[case("https://api.treasuredata.co.jp")]
    #[case("https://api-staging.treasuredata.com")]
    #[case("http://127.0.0.1:8080")]
    #[case("https://localhost:8443")]
    fn accepts(#[case] text: &str) {
        assert_eq!(parse(text, &[]).unwrap().as_str(), text);
    }

    #[rstest]
    #[case("", EndpointError::NotAServer)]
    #[case("api.treasuredata.co.jp", EndpointError::NoScheme)]
    #[case("US-03", EndpointError::NotAServer)]
    #[case("http://api.treasuredata.com", EndpointError::NotHttps)]
    #[case("https://me:hush@api.treasuredata.com", EndpointError::UserInformation)]
    #[case("https://api.treasuredata.com/v3", EndpointError::Path)]
    #[case("https://api.treasuredata.com?a=b", EndpointError::Path)]
    fn refuses(#[case] text: &str, #[case] error: EndpointError) {
        assert_eq!(parse(text, &[]), Err(error));
    }

    #[rstest]
    #[case("console.treasuredata.com")]
    #[case("api.treasuredata.com.evil.example")]
    #[case("evil-api.treasuredata.com")]
    #[case("api.a.b.treasuredata.com")]
    #[case("api..treasuredata.com")]
    #[case("api-.treasuredata.com")]
    #[case("api.eu01.treasuredata.co.jp")]
    #[case("rest.iad-01.braze.com")]
    fn refuses_the_host(#[case] host: &str) {
        let error = parse(&format!("https://{host}"), &[]).unwrap_err();
        assert_eq!(error, EndpointError::ForeignServer { host: host.to_owned() });
        assert!(parse(&format!("https://{host}"), &["other".to_owned(), host.to_owned()]).is_ok());
    }
}
