//! The settings and the certificate in force.

use api::{ServerCertificate, Setting, Settings};

use super::{must_be_administrator, ok};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::in_force::SettingLine;
use crate::http::response::Response;
use crate::tls::certificate::Certificate;

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let in_force = &call.app.in_force;
    let settings = in_force.settings().into_iter().map(setting).collect();
    Ok(ok(&Settings { settings, certificate: in_force.certificate().map(certificate) }))
}

fn setting(line: SettingLine) -> Setting {
    Setting { key: line.key.to_owned(), value: line.value, origin: line.origin, default: line.is_default }
}

fn certificate(certificate: Certificate) -> ServerCertificate {
    ServerCertificate {
        hosts: certificate.hosts.iter().map(ToString::to_string).collect(),
        valid_until: certificate.until(),
        fingerprint: certificate.fingerprint,
    }
}
