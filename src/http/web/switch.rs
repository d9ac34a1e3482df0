//! `/-/language`: the switch between languages.

use hyper::header::SET_COOKIE;

use super::form::{Form, local_path};
use super::language::Language;
use super::page::Page;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::middleware::cookies;
use crate::http::response::Response;

pub(crate) async fn post(mut call: Call<'_>) -> Result<Response, Error> {
    let form = Form::read(&mut call).await?;
    let page = Page::of(&call);
    let to = form.get("to");
    let mut response = page.redirect(to.as_deref().and_then(local_path).unwrap_or("/"));
    let language = Language::of_tag(&form.text("language")).unwrap_or(page.language);
    if let Some(cookie) = cookies::set_language(call.caller.client(), language.tag()) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}
