//! `/-/sign-in` and `/-/sign-out`: sessions of browsers. The same throttle limits sign-ins here and in the
//! API.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE};
use hyper::{Method, StatusCode};

use super::form::{Form, local_path};
use super::page::Page;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::endpoint::Endpoint;
use crate::http::middleware::access_request::AccessRequest;
use crate::http::middleware::{audit, authorization, cookies};
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    page: Page,
    /// The page to go to afterwards.
    to: String,
    name: String,
    problem: Option<String>,
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    if call.request.method == Method::POST {
        return sign_in(&mut call).await;
    }
    let to = call.query().get_filled("to").unwrap_or_default().into_owned();
    show(&call, StatusCode::OK, to, String::new(), None)
}

fn show(
    call: &Call<'_>,
    status: StatusCode,
    to: String,
    name: String,
    problem: Option<String>,
) -> Result<Response, Error> {
    let page = Page::of(call);
    let body = SignIn { page, to, name, problem };
    body.page.render_as(status, &body)
}

async fn sign_in(call: &mut Call<'_>) -> Result<Response, Error> {
    let form = Form::read(call).await?;
    let (to, name) = (form.text("to"), form.text("name"));
    let password = form.get("password").unwrap_or_default();
    let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))));
    // Only the credentials of the form count.
    let headers = HeaderMap::from_iter(basic.ok().map(|basic| (AUTHORIZATION, basic)));
    let (app, client) = (call.app, call.caller.client());
    let access = AccessRequest {
        endpoint: Some(&Endpoint::PageSignIn),
        method: &call.request.method,
        uri: &call.request.uri,
        headers: &headers,
        client,
    };
    let page = Page::of(call);
    let identity = match authorization::sign_in(app, access, headers.get(AUTHORIZATION)).await {
        Ok(identity) => identity,
        Err(rejection) => {
            audit::refused(app, None, &rejection, client.address, &call.request.id).await;
            return match rejection.error {
                Error::TooMany { wait } => {
                    let problem = page.counted("sign-in-too-many", wait.as_secs().max(1));
                    let mut response = show(call, StatusCode::TOO_MANY_REQUESTS, to, name, Some(problem))?;
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
                    Ok(response)
                }
                Error::Denied(_) => {
                    let problem = page.t("sign-in-wrong").into_owned();
                    show(call, StatusCode::FORBIDDEN, to, name, Some(problem))
                }
                error => Err(error),
            };
        }
    };
    let browser = call.request.header("user-agent").map(browser).unwrap_or_default();
    let browser = format!("{browser} · {}", client.address);
    let secret = match &identity {
        Some(identity) => app.accounts.begin_session(identity, &browser).await?,
        None => None,
    };
    let (Some(identity), Some(secret)) = (identity, secret) else {
        let problem = page.t("sign-in-password-only").into_owned();
        return show(call, StatusCode::FORBIDDEN, to, name, Some(problem));
    };
    audit::signed_in(app, &identity, client.address, &call.request.id).await;
    let mut response = page.redirect(local_path(&to).unwrap_or("/"));
    let lifetime = app.accounts.settings().session_lifetime.as_secs();
    if let Some(cookie) = cookies::set_session(client, secret.reveal(), lifetime) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

pub(crate) async fn sign_out(mut call: Call<'_>) -> Result<Response, Error> {
    Form::read(&mut call).await?;
    let client = call.caller.client();
    if let Some(secret) = cookies::session(&call.request.headers, client) {
        call.app.accounts.end_session(secret).await?;
    }
    let mut response = Page::of(&call).redirect("/");
    if let Some(cookie) = cookies::remove_session(client) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Describes a browser by its `User-Agent`: `Firefox, Linux`.
fn browser(agent: &str) -> String {
    let first = |names: &[(&'static str, &'static str)]| {
        names.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name)
    };
    let name = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iPadOS"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name}, {system}"),
        (Some(name), None) => name.to_owned(),
        _ => agent.chars().filter(|char| !char.is_control()).take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_for_people() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
        assert_eq!(browser(firefox), "Firefox, Linux");
        let edge = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36 Edg/130.0";
        assert_eq!(browser(edge), "Edge, Windows");
        assert_eq!(browser("curl/8.0"), "curl/8.0");
    }
}
