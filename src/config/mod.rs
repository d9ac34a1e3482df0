//! The configuration. `definition.rs` lists the settings; the other files read them from flags, environment
//! and file, reject unknown and invalid ones, and write them back.

mod definition;
mod environment;
mod error;
mod exposure;
mod file;
mod import;
mod live;
mod load;
mod location;
mod rules;
mod security;
mod template;
mod upstream;
mod value;
mod webhook;

pub use definition::{
    Acme, Audit, Auth, Backup, Cache, Config, Gateway, Limits, Log, Metrics, Proxy, Registry, SECTIONS,
    Section, Setting, Storage, Tls, Tracing, Web, changed_settings, copy_settings, settings,
};
pub use environment::{ADMIN_PASSWORD_VARIABLE, ADMIN_VARIABLE, CONFIG_VARIABLE, TOKEN_VARIABLE};
pub use error::{ConfigError, ConfigErrors, Excerpt};
pub use import::{Finding, Import, ImportSources, Outcome, import, registry_variables};
pub use load::{Effective, Flag, Loaded, Origin, Sources, USUAL_FILES};
pub use location::{Admits, Location};
pub use rules::{By, Immutable, Protected, Quota, Retention, retention_warnings};
pub use template::template;
pub use upstream::{FillChoice, IpChoice, PushChoice, SearchChoice, Unavailable, Upstream, UpstreamName};
pub use value::{
    AcmeChallenge, BaseUrl, BucketUrl, Challenge, DatabaseUrl, DirectoryUrl, LogFormat, TomlValue,
    UpstreamHost, WebOrigin,
};
pub use webhook::Webhook as WebhookTable;
pub(crate) use webhook::shown_url;

/// The known name that is most similar to a mistyped one, if it is similar enough.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &known.to_lowercase()), known))
        // At most a third of the name may differ; otherwise any two short names would be similar.
        .filter(|(distance, known)| distance * 3 <= known.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Reads the text of a configuration file and returns its mistakes, for `crate::fuzzing`.
pub(crate) fn mistakes_of_file(text: &str) -> Vec<ConfigError> {
    file::read(std::path::Path::new("wharfinger.toml"), text).1
}
