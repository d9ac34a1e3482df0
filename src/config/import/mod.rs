//! Import of the configuration of distribution's registry (`registry:2`, `registry:3`) and of nginx before
//! it.
//!
//! `keys.rs` is the table of distribution's keys, and decides about each: taken, without a counterpart, or
//! refused because a registry without it would be open. `nginx` does the same for the directives of an nginx
//! file.

mod azure;
mod distribution;
mod draft;
mod environment;
mod keys;
mod nginx;
mod notifications;
mod object_store;
mod pull_through;
mod readers;
mod report;
mod yaml;

use std::path::{Path, PathBuf};

use super::definition::Config;
use super::error::{ConfigError, ConfigErrors};
use draft::Draft;
pub use report::{Finding, Import, Outcome};

/// The files and variables of an import.
pub struct ImportSources {
    /// Each file with its text.
    pub files: Vec<(PathBuf, String)>,
    /// Environment variables; only those of distribution are read.
    pub environment: Vec<(String, String)>,
}

/// Imports the configuration of other programs.
///
/// # Errors
/// Files that cannot be parsed, and configurations that contradict themselves.
pub fn import(sources: &ImportSources) -> Result<Import, ConfigErrors> {
    let mut draft = Draft::default();
    let is_nginx = |(path, text): &&(PathBuf, String)| looks_like_nginx(path, text);
    let (nginx, distribution): (Vec<_>, Vec<_>) = sources.files.iter().partition(is_nginx);
    let fail = |error: Box<ConfigError>| ConfigErrors(vec![*error]);
    let fail_with = |message: &str| Err(fail(Box::new(ConfigError::new(message))));
    if distribution.len() > 1 {
        return fail_with("two files are configurations of a registry; name one of them");
    }
    if nginx.len() > 1 {
        return fail_with("two files are configurations of nginx; name the one with the registry's server");
    }
    // nginx comes last: clients see its address, certificate and accounts.
    if !distribution.is_empty() || nginx.is_empty() {
        let file = distribution.first().map(|(path, text)| (path.as_path(), text.as_str()));
        distribution::read(&mut draft, file, &sources.environment).map_err(fail)?;
    }
    if let Some((path, text)) = nginx.first() {
        nginx::read(&mut draft, path, text).map_err(fail)?;
    }
    draft.finish()
}

/// Guesses the kind of a file: by its name, and else by its content.
fn looks_like_nginx(path: &Path, text: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let has = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if has(&[".yml", ".yaml"]) {
        return false;
    }
    if has(&[".conf", ".nginx", ".vhost"]) || name.contains("nginx") {
        return true;
    }
    let is_map =
        yaml::parse(text).is_ok_and(|root| !root.members().is_empty() && root.get("version").is_some());
    !is_map && text.contains(';') && text.contains('{')
}

/// The variables of distribution among those of this process.
pub fn registry_variables(environment: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    environment.into_iter().filter(|(name, _)| name.starts_with("REGISTRY_")).collect()
}

/// Whether a registry with these settings has accounts of its own sources.
fn has_accounts(config: &Config) -> bool {
    config.auth.htpasswd.is_some() || config.auth.forward.is_some()
}

#[cfg(test)]
mod tests;
