//! `wharfinger serve`: the registry server.

use clap::Args;

use super::output::Failure;
use super::settings::Settings;
use super::start::{SIGNALS_HELP, Start, inherited_sockets};
use crate::config::{Config, ConfigErrors, Upstream};
use crate::serve::Front;

/// Run the registry
#[derive(Args, Debug)]
#[command(after_help = [HELP, SIGNALS_HELP].concat())]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,

    /// Cache another registry: its name, such as docker.io, and its URL; may be repeated. Images are then
    /// pulled as docker.io/library/ubuntu from this registry
    #[arg(long, value_name = "NAME=URL")]
    upstream: Vec<String>,

    /// The upstream of image names that name none, for dockerd's registry-mirrors
    #[arg(long, value_name = "NAME")]
    default_upstream: Option<String>,

    #[command(flatten)]
    start: Start,
}

const HELP: &str = "\
Examples:
  wharfinger serve
      for this machine only: docker push localhost:5000/team/app:1.0
  wharfinger serve --listen :5000 --data /srv/registry \\
    --htpasswd /etc/wharfinger/users
      for everyone who has a password in that file, made with htpasswd -B
  wharfinger serve --listen :5000 --admin ann --admin-password-file ann.txt
      the first start of a registry with accounts of its own
  wharfinger serve --listen :5000 --open --data /srv/registry
      without accounts, for a network where everyone may push and delete
  wharfinger serve --upstream docker.io=https://registry-1.docker.io
      to cache Docker Hub: docker pull localhost:5000/docker.io/library/ubuntu
  wharfinger serve --config /etc/wharfinger/wharfinger.toml --log-format json
      as a service

Every setting can be in the configuration file or an environment variable, such as WHARFINGER_LISTEN or \
WHARFINGER_LIMITS_BLOB_BYTES; `wharfinger config example` lists them. Flags override variables, and variables \
override the file.

Without accounts, everyone who reaches the port may pull, push, overwrite and delete; beyond this machine, that \
requires --open. Behind a proxy, set auth.required, so that an empty volume or a mistyped --data is not served. A \
directory that has had accounts is not served without them either.
";

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let sockets = inherited_sockets()?;
        let addresses = sockets.addresses();
        let settings = self.settings;
        let mut upstreams = Vec::new();
        for argument in &self.upstream {
            let upstream = Upstream::from_argument(argument);
            upstreams
                .push(upstream.map_err(|reason| Failure::usage(format!("--upstream {argument}: {reason}")))?);
        }
        let default = self.default_upstream;
        let default_named = default.clone();
        let read = move || {
            let mut loaded = settings.load()?;
            add_upstreams(&mut loaded.config, &upstreams, default.as_deref());
            addresses.put_into(&mut loaded.config);
            Ok::<_, ConfigErrors>(loaded)
        };
        let loaded = read()?;
        if let Some(default) = &default_named
            && !loaded.config.upstream.iter().any(|upstream| upstream.name.as_str() == default)
        {
            return Err(Failure::usage(format!("--default-upstream {default} is not a configured upstream"))
                .help(format!("add it, as in --upstream {default}=URL")));
        }
        Box::pin(self.start.run(loaded, Box::new(read), Front::Registry, sockets)).await
    }
}

/// Adds the upstreams of flags to those of the file. A flag replaces the upstream of the same name.
fn add_upstreams(config: &mut Config, flags: &[Upstream], default: Option<&str>) {
    for upstream in flags {
        let name = upstream.name.as_str();
        match config.upstream.iter_mut().find(|other| other.name.as_str() == name) {
            // The other settings of the file stay.
            Some(other) => other.url.clone_from(&upstream.url),
            None => config.upstream.push(upstream.clone()),
        }
    }
    if let Some(default) = default {
        for upstream in &mut config.upstream {
            upstream.default = upstream.name.as_str() == default;
        }
    }
}
