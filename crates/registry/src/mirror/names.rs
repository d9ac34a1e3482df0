//! Names: finds the upstream that a request means, and the name under which its repository is kept here.

use oci::{Digest, RepositoryName, TagOrDigest};

use super::{Mirror, Upstream};

/// How a client named an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the repository name: `docker.io/library/ubuntu`. The client knows no other source.
    Name,
    /// As a mirror: by `?ns=`, a host name, or the plain root. The client tries its next endpoint after an
    /// error.
    Mirror,
}

/// The content that a request wants.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A manifest.
    Manifest(&'a TagOrDigest),
    /// A blob.
    Blob(&'a Digest),
    /// The list of tags.
    Tags,
    /// The manifests that refer to another one.
    Referrers(&'a Digest),
}

/// The repository that a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A repository of this registry itself.
    Local,
    /// A cached repository.
    Cached(RepositoryName, Reach),
    /// A cached repository of the default upstream, unless this registry has a repository of the requested
    /// name.
    Default(RepositoryName),
    /// The namespace of a registry that is no upstream.
    UnknownNamespace,
}

impl Mirror {
    /// Finds the repository of a request for `name`. `namespace` is the parameter `ns`, and `host` the host
    /// that the client called.
    #[must_use]
    pub fn resolve(&self, name: &RepositoryName, namespace: Option<&str>, host: Option<&str>) -> Target {
        let host = host.map(|host| host.to_ascii_lowercase());
        if let Some(namespace) = namespace {
            let namespace = namespace.to_ascii_lowercase();
            if let Some(upstream) = self.upstreams.all.iter().find(|upstream| upstream.is_named(&namespace)) {
                return self.below(upstream, name, Reach::Mirror);
            }
            let is_own =
                host.as_deref().is_some_and(|host| host == namespace || without_port(host) == namespace);
            return if is_own { Target::Local } else { Target::UnknownNamespace };
        }
        if let Some(host) = host.as_deref().map(without_port) {
            let by_host =
                |upstream: &&std::sync::Arc<Upstream>| upstream.settings.host.as_deref() == Some(host);
            if let Some(upstream) = self.upstreams.all.iter().find(by_host) {
                return self.below(upstream, name, Reach::Mirror);
            }
        }
        for upstream in &self.upstreams.all {
            if let Some(path) = upstream.path(name) {
                return upstream
                    .full_name(path)
                    .map_or(Target::Local, |name| Target::Cached(name, Reach::Name));
            }
        }
        match self.upstreams.default.and_then(|index| self.upstreams.all.get(index)) {
            Some(upstream) => upstream.full_name(name.as_str()).map_or(Target::Local, Target::Default),
            None => Target::Local,
        }
    }

    /// Whether the content that a client of a mirror means comes from the upstream, although this registry
    /// has a repository of the requested name. Otherwise the pushers of that name could replace the images of
    /// such clients. A digest identifies one content, so the local copy serves as well.
    pub async fn precedes_local(
        &self,
        local: &RepositoryName,
        cached: &RepositoryName,
        item: Item<'_>,
    ) -> bool {
        let registry = &self.inner.registry;
        match item {
            Item::Blob(digest) => registry.blob_size(local, digest).await.is_err(),
            Item::Manifest(target @ TagOrDigest::Digest(_)) => {
                registry.manifest(local, target).await.is_err()
            }
            Item::Referrers(digest) => registry.manifest(local, &TagOrDigest::Digest(*digest)).await.is_err(),
            Item::Manifest(target @ TagOrDigest::Tag(_)) => {
                !matches!(self.manifest(cached, target, true).await, Err(error) if error.is_absent())
            }
            Item::Tags => !matches!(self.tags(cached, None, 1, true).await, Err(error) if error.is_absent()),
        }
    }

    fn below(&self, upstream: &Upstream, name: &RepositoryName, reach: Reach) -> Target {
        // podman puts the host into the path, and may do so besides a namespace.
        let path = upstream.path(name).unwrap_or(name.as_str());
        upstream.full_name(path).map_or(Target::UnknownNamespace, |name| Target::Cached(name, reach))
    }
}

impl Upstream {
    /// Whether a value of `ns` means this upstream.
    fn is_named(&self, namespace: &str) -> bool {
        self.name() == namespace
            || self.settings.aliases.iter().any(|alias| alias == namespace)
            || self.settings.client.upstreams().iter().any(|url| url.authority().as_str() == namespace)
    }

    /// The name here of a repository of the upstream. Bare names get the upstream's namespace. `None` if it
    /// is too long.
    pub(super) fn full_name(&self, path: &str) -> Option<RepositoryName> {
        let name = self.name();
        let full = match &self.settings.namespace {
            Some(namespace) if !path.contains('/') => format!("{name}/{namespace}/{path}"),
            _ => format!("{name}/{path}"),
        };
        full.parse().ok()
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_cut_off() {
        assert_eq!(without_port("registry.example:5000"), "registry.example");
        assert_eq!(without_port("registry.example"), "registry.example");
        assert_eq!(without_port("[::1]:5000"), "[::1]");
    }
}
