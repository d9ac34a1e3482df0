//! `/-/certificate`: the self-signed certificate, for clients that should trust it. It is public: every handshake
//! shows it.

use hyper::header::{CONTENT_DISPOSITION, HeaderValue};

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::path_part::PathError;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let pem = call.app.web.as_deref().and_then(super::Web::self_signed_pem);
    let pem = pem.ok_or(PathError::NoSuchPath)?;
    let mut response = response::content(HeaderValue::from_static("application/x-pem-file"), pem);
    let disposition = HeaderValue::from_static("attachment; filename=\"self-signed.pem\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    Ok(response)
}
