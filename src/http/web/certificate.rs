//! `/-/certificate`: the self-signed certificate, for clients that should trust it. It is public: every
//! handshake shows it.

use hyper::header::{CONTENT_DISPOSITION, HeaderValue};

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::path_part::PathError;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let is_self_signed = call.app.web.as_ref().is_some_and(|web| web.self_signed);
    let file = call.app.in_force.certificate_file().filter(|_| is_self_signed);
    let pem = file.and_then(|file| certificate_pem(&std::fs::read_to_string(file).ok()?));
    let pem = pem.ok_or(PathError::NoSuchPath)?;
    let mut response = response::content(HeaderValue::from_static("application/x-pem-file"), pem);
    let disposition = HeaderValue::from_static("attachment; filename=\"self-signed.pem\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// Returns the first certificate of a PEM file, without a key that the file may hold.
fn certificate_pem(pem: &str) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let begin = pem.find("-----BEGIN CERTIFICATE-----")?;
    let end = begin + pem[begin..].find(END)? + END.len();
    Some(format!("{}\n", &pem[begin..end]))
}
