//! The settings and the certificate in force.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings in force: `GET /api/v1/settings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// In the order of the reference. A command on a data directory has none.
    pub settings: Vec<Setting>,
    /// The certificate of the server; `null` without one, and with one of an authority (`acme`).
    pub certificate: Option<ServerCertificate>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Such as `auth.realm`.
    pub key: String,
    /// As in the configuration file. Secrets are left out.
    pub value: String,
    /// The file with its line, the environment variable, the flag, or `default`.
    pub origin: String,
    /// Whether it is the default.
    pub default: bool,
}

/// The certificate of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerCertificate {
    /// The hosts for which it is valid.
    pub hosts: Vec<String>,
    /// The end of its validity.
    pub valid_until: String,
    /// The SHA-256 digest, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
}
