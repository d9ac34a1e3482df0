//! Cookies of browsers: the session, the seed of form tokens before a sign-in, and the language.
//!
//! Over HTTPS the first two have the prefix `__Host-`, or `__Secure-` below a path prefix (RFC 6265bis
//! section 4.1.3). Neither another host of the domain nor plain HTTP can set them.

use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use crate::http::middleware::client_info::ClientInfo;

const SESSION: &str = "wharfinger-session";
const FORM: &str = "wharfinger-form";
const LANGUAGE: &str = "wharfinger-language";

/// Returns the secret of the session.
pub(crate) fn session<'h>(headers: &'h HeaderMap, client: &ClientInfo) -> Option<&'h str> {
    read(headers, &protected(SESSION, client))
}

/// Returns the seed of form tokens.
pub(crate) fn form<'h>(headers: &'h HeaderMap, client: &ClientInfo) -> Option<&'h str> {
    read(headers, &protected(FORM, client))
}

/// Returns the chosen language.
pub(crate) fn language(headers: &HeaderMap) -> Option<&str> {
    read(headers, LANGUAGE)
}

/// Sets the session, until the browser closes or `seconds` have passed.
pub(crate) fn set_session(client: &ClientInfo, secret: &str, seconds: u64) -> Option<HeaderValue> {
    set(client, &protected(SESSION, client), secret, Some(seconds))
}

/// Removes the session.
pub(crate) fn remove_session(client: &ClientInfo) -> Option<HeaderValue> {
    set(client, &protected(SESSION, client), "", Some(0))
}

/// Sets the seed of form tokens, until the browser closes.
pub(crate) fn set_form(client: &ClientInfo, seed: &str) -> Option<HeaderValue> {
    set(client, &protected(FORM, client), seed, None)
}

/// Sets the language for a year.
pub(crate) fn set_language(client: &ClientInfo, language: &str) -> Option<HeaderValue> {
    set(client, LANGUAGE, language, Some(365 * 24 * 60 * 60))
}

fn protected(name: &str, client: &ClientInfo) -> String {
    match (client.secure, client.prefix.is_empty()) {
        (false, _) => name.to_owned(),
        (true, true) => format!("__Host-{name}"),
        (true, false) => format!("__Secure-{name}"),
    }
}

fn read<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.split_once('='));
    let value = pairs.find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))?;
    Some(value).filter(|value| !value.is_empty())
}

fn set(client: &ClientInfo, name: &str, value: &str, seconds: Option<u64>) -> Option<HeaderValue> {
    let path = if client.prefix.is_empty() { "/" } else { &client.prefix };
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let secure = if client.secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={value}; Path={path}{age}{secure}; HttpOnly; SameSite=Lax")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(secure: bool, prefix: &str) -> ClientInfo {
        let mut client = ClientInfo::local();
        client.secure = secure;
        prefix.clone_into(&mut client.prefix);
        client
    }

    #[test]
    fn cookies_are_protected_over_https() {
        let set = |secure, prefix: &str| set_session(&client(secure, prefix), "x", 60).unwrap();
        assert_eq!(set(false, ""), "wharfinger-session=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
        assert_eq!(
            set(true, ""),
            "__Host-wharfinger-session=x; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            set(true, "/hub"),
            "__Secure-wharfinger-session=x; Path=/hub; Max-Age=60; Secure; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn cookie_is_read_by_its_name() {
        let headers = |text: &'static str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(text))]);
        let plain = client(false, "");
        assert_eq!(session(&headers("a=b; wharfinger-session=s ;c"), &plain), Some("s"));
        assert_eq!(session(&headers("xwharfinger-session=s"), &plain), None);
        assert_eq!(session(&headers("wharfinger-session="), &plain), None);
        assert_eq!(session(&headers("wharfinger-session=s"), &client(true, "")), None);
        assert_eq!(session(&headers("__Host-wharfinger-session=s"), &client(true, "")), Some("s"));
    }
}
