//! Forms: their fields, and the token that each form carries against cross-site requests (CSRF).
//!
//! The token is a hash of a secret cookie: of the session, or of a random seed before a sign-in. A page of
//! another site can neither read the cookie nor the form. `web` also refuses requests that a browser calls
//! cross-site (`Cors::check_write`).

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::query::Query;
use crate::http::middleware::client_info::ClientInfo;
use crate::http::middleware::cookies;

/// The maximum length of a form.
const FORM_BYTES: usize = 64 * 1024;
/// The hidden field.
const FIELD: &str = "form_token";
/// The length of a seed in bytes.
const SEED: usize = 24;

/// The secret behind the form tokens of a browser.
pub(crate) struct Token {
    seed: String,
    /// The cookie of a new seed.
    cookie: Option<HeaderValue>,
}

impl Token {
    pub(crate) fn value(&self) -> String {
        let hash = digest(&SHA256, format!("form:{}", self.seed).as_bytes());
        URL_SAFE_NO_PAD.encode(hash.as_ref())
    }

    pub(crate) fn new_cookie(&self) -> Option<HeaderValue> {
        self.cookie.clone()
    }
}

/// Returns the seed of a browser: its session, the seed that it has, or a new one.
pub(crate) fn seed(headers: &HeaderMap, client: &ClientInfo) -> Token {
    if let Some(seed) = existing_seed(headers, client) {
        return Token { seed: seed.to_owned(), cookie: None };
    }
    let mut random = [0; SEED];
    // Without random numbers there is no cookie, and every form is refused.
    let cookie = aws_lc_rs::rand::fill(&mut random).ok();
    let seed = URL_SAFE_NO_PAD.encode(random);
    let cookie = cookie.and_then(|()| cookies::set_form(client, &seed));
    Token { seed, cookie }
}

fn existing_seed<'h>(headers: &'h HeaderMap, client: &ClientInfo) -> Option<&'h str> {
    cookies::session(headers, client)
        .or_else(|| cookies::form(headers, client).filter(|seed| seed.len() == SEED / 3 * 4))
}

pub(crate) struct Form(String);

impl Form {
    /// Reads a form and checks its token.
    ///
    /// # Errors
    /// [`Error::NoForm`], [`Error::FormExpired`].
    pub(crate) async fn read(call: &mut Call<'_>) -> Result<Self, Error> {
        let expected = existing_seed(&call.request.headers, call.caller.client())
            .map(|seed| Token { seed: seed.to_owned(), cookie: None }.value());
        let bytes = call.request.short_body(FORM_BYTES, || Error::NoForm).await?;
        let form = Self(String::from_utf8(bytes.to_vec()).map_err(|_| Error::NoForm)?);
        let sent = form.get(FIELD);
        let is_right = match (&expected, &sent) {
            (Some(expected), Some(sent)) => {
                aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), sent.as_bytes())
                    .is_ok()
            }
            _ => false,
        };
        if is_right { Ok(form) } else { Err(Error::FormExpired) }
    }

    /// Returns a field, if it is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        Query::new(Some(&self.0)).get_filled(name)
    }

    /// Returns all values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        Query::new(Some(&self.0)).all(name).map(Cow::into_owned).collect()
    }

    /// Returns a field without surrounding spaces, or nothing.
    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).map(|text| text.trim().to_owned()).unwrap_or_default()
    }
}

/// Returns a path on this host, from untrusted text. Browsers read `//` and `\` as the beginning of another
/// host.
pub(crate) fn local_path(text: &str) -> Option<&str> {
    let is_local = text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains('\\')
        && !text.chars().any(char::is_control);
    is_local.then_some(text)
}

/// The characters that a `Location` cannot have.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

pub(crate) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, UNSAFE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_this_host() {
        for local in ["/", "/team/app:1.0?x=//y", "/-/account"] {
            assert_eq!(local_path(local), Some(local));
        }
        for other in ["", "//evil", "/\\evil", "https://evil/", "evil", "/a\nb", "/a\\..\\\\evil", "\\/evil"]
        {
            assert_eq!(local_path(other), None, "{other:?}");
        }
    }

    #[test]
    fn token_follows_from_the_seed() {
        let token = |seed: &str| Token { seed: seed.to_owned(), cookie: None }.value();
        assert_eq!(token("a"), token("a"));
        assert_ne!(token("a"), token("b"));
        let new = seed(&HeaderMap::new(), &ClientInfo::local());
        assert!(new.new_cookie().is_some() && new.seed.len() == SEED / 3 * 4);
    }
}
