//! The settings and the certificate in force, as administrators see them.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use crate::config::{Config, Effective, Origin};
use crate::tls::certificate::Certificate;

/// The settings and the certificate that a running server uses.
pub(crate) struct InForce {
    settings: RwLock<Vec<SettingLine>>,
    /// The file of the certificate, if it is not from an authority.
    certificate: RwLock<Option<PathBuf>>,
}

#[derive(Clone)]
pub(crate) struct SettingLine {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) origin: String,
    pub(crate) is_default: bool,
}

impl SettingLine {
    /// Describes a setting. Secrets are left out.
    fn of(setting: &Effective) -> Self {
        let value = setting.value.to_string();
        let is_secret = ["secret", "password", "token ="].iter().any(|word| value.contains(word));
        Self {
            key: setting.key,
            value: if is_secret { "…".to_owned() } else { value },
            origin: setting.origin.to_string(),
            is_default: setting.origin == Origin::Default,
        }
    }
}

impl InForce {
    pub(crate) fn new(config: &Config) -> Self {
        Self { settings: RwLock::default(), certificate: RwLock::new(config.tls.certificate.clone()) }
    }

    /// Sets the settings.
    pub(crate) fn describe(&self, settings: &[Effective]) {
        let lines = settings.iter().map(SettingLine::of).collect();
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    /// Sets the file of the certificate.
    pub(crate) fn set_certificate(&self, file: PathBuf) {
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    pub(crate) fn settings(&self) -> Vec<SettingLine> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the file of the certificate.
    pub(crate) fn certificate_file(&self) -> Option<PathBuf> {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the certificate.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        Certificate::of_file(&self.certificate_file()?)
    }
}
