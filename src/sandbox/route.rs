//! A method and a path -> what is asked for.

use super::refusal::Refusal;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Something that Braze has as well.
    Api(Call),
    /// Something that only the sandbox has: a look inside.
    Inspect(Inspection),
}

/// The two calls of the cohort API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `POST /partners/{partner}/cohorts`: creates or renames a cohort.
    Naming,
    /// `POST /partners/{partner}/cohorts/users`: adds and removes members.
    Users,
}

/// What can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// `GET /cohorts`: all cohorts, without their members.
    Cohorts,
    /// `GET /cohorts/ID`: one cohort with its members.
    Cohort(String),
    /// `GET /stats`: what was counted.
    Stats,
}

/// Finds the route. Where `partner` is set, the path of any other partner is not found.
pub fn route(method: &str, path: &str, partner: Option<&str>) -> Result<Route, Refusal> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (allow, route) = match segments[..] {
        ["partners", name, "cohorts"] if serves(partner, name) => ("POST", Route::Api(Call::Naming)),
        ["partners", name, "cohorts", "users"] if serves(partner, name) => ("POST", Route::Api(Call::Users)),
        ["cohorts"] => ("GET", Route::Inspect(Inspection::Cohorts)),
        ["cohorts", id] => ("GET", Route::Inspect(Inspection::Cohort(decode(id).ok_or(Refusal::NotFound)?))),
        ["stats"] => ("GET", Route::Inspect(Inspection::Stats)),
        _ => return Err(Refusal::NotFound),
    };
    if method == allow { Ok(route) } else { Err(Refusal::MethodNotAllowed { allow }) }
}

fn serves(partner: Option<&str>, segment: &str) -> bool {
    match partner {
        None => !segment.is_empty(),
        Some(partner) => decode(segment).as_deref() == Some(partner),
    }
}

/// Decodes `%XX`; `None` where a code is broken or the result is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? * 16 + hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMING: Result<Route, Refusal> = Ok(Route::Api(Call::Naming));
    const USERS: Result<Route, Refusal> = Ok(Route::Api(Call::Users));

    #[test]
    fn routes_are_found_by_method_and_path() {
        let cohort = |id: &str| Ok(Route::Inspect(Inspection::Cohort(id.to_owned())));
        let not_found = Err(Refusal::NotFound);
        let only = |allow| Err(Refusal::MethodNotAllowed { allow });
        for (method, path, partner, expected) in [
            ("POST", "/partners/td/cohorts", None, NAMING),
            ("POST", "/partners/td/cohorts/users", None, USERS),
            ("POST", "/partners/td/cohorts", Some("td"), NAMING),
            ("POST", "/partners/t%64/cohorts/users", Some("td"), USERS),
            ("POST", "/partners/td/cohorts", Some("other"), not_found.clone()),
            ("POST", "/partners//cohorts", None, not_found.clone()),
            ("POST", "/partners/td/cohorts/", None, not_found.clone()),
            ("POST", "/partners/td/cohorts/users/1", None, not_found.clone()),
            ("POST", "/", None, not_found.clone()),
            ("OPTIONS", "*", None, not_found.clone()),
            ("GET", "/partners/td/cohorts", None, only("POST")),
            ("PUT", "/partners/td/cohorts/users", None, only("POST")),
            ("GET", "/partners/td/cohorts", Some("other"), not_found.clone()),
            ("GET", "/cohorts", Some("td"), Ok(Route::Inspect(Inspection::Cohorts))),
            ("GET", "/cohorts/a%2Fb%20c%C3%A9", None, cohort("a/b cé")),
            ("GET", "/cohorts/%zz", None, not_found.clone()),
            ("GET", "/cohorts/%ff", None, not_found.clone()),
            ("GET", "/cohorts/a%2", None, not_found.clone()),
            ("GET", "/stats", None, Ok(Route::Inspect(Inspection::Stats))),
            ("DELETE", "/stats", None, only("GET")),
        ] {
            assert_eq!(route(method, path, partner), expected, "{method} {path} as {partner:?}");
        }
    }
}
