//! Challenges: the `WWW-Authenticate` header of a 401 (RFC 6750 section 3, RFC 7617, and distribution's
//! "Token Authentication Specification").

use accounts::{PrefixRules, Right};
use hyper::Uri;
use hyper::header::HeaderValue;
use oci::RepositoryName;

use crate::config::{Admits, Auth, Challenge as Kind};
use crate::http::endpoints::Requirement;
use crate::http::extract::endpoint::Endpoint;
use crate::http::extract::query::Query;
use crate::http::middleware::access_request::AccessRequest;
use crate::http::middleware::denied::{Denied, DenyReason};

/// The authentication schemes of the registry and of its locations.
pub(crate) struct Challenges {
    default: Scheme,
    locations: PrefixRules<Scheme>,
    service: String,
}

struct Scheme {
    kind: Kind,
    realm: String,
}

impl Challenges {
    pub(crate) fn new(auth: &Auth) -> Self {
        let locations = auth.locations.iter().map(|location| {
            let kind = match location.auth {
                Admits::Open => auth.challenge,
                Admits::Basic => Kind::Basic,
                Admits::Token => Kind::Bearer,
            };
            let realm = location.realm.as_ref().unwrap_or(&auth.service).clone();
            (location.path.clone(), Scheme { kind, realm })
        });
        Self {
            default: Scheme { kind: auth.challenge, realm: auth.service.clone() },
            locations: locations.collect(),
            service: auth.service.clone(),
        }
    }

    /// Returns the scheme of an endpoint. Endpoints without a repository use the scheme of the root location.
    fn scheme(&self, endpoint: Option<&Endpoint>) -> &Scheme {
        let scheme = match endpoint.and_then(Endpoint::repository) {
            Some(repository) => self.locations.of(repository),
            None => self.locations.of_all(),
        };
        scheme.unwrap_or(&self.default)
    }

    /// Denies a request. `base` is the URL by which the client called the registry.
    pub(crate) fn deny(&self, request: AccessRequest<'_>, base: Option<&str>, reason: DenyReason) -> Denied {
        let scheme = self.scheme(request.endpoint);
        // Only the registry protocol has tokens with a scope.
        let challenge = match (base, request.endpoint) {
            (Some(base), Some(endpoint)) if scheme.kind == Kind::Bearer && endpoint.is_v2() => {
                HeaderValue::try_from(self.bearer(base, endpoint, request, reason)).ok()
            }
            _ => basic(scheme),
        };
        Denied { reason, challenge, host: base.map(host) }
    }

    /// Denies a request outside the registry protocol, where only passwords work.
    pub(crate) fn deny_with_basic(&self, base: Option<&str>, reason: DenyReason) -> Denied {
        Denied { reason, challenge: basic(self.scheme(None)), host: base.map(host) }
    }

    fn bearer(
        &self,
        base: &str,
        endpoint: &Endpoint,
        request: AccessRequest<'_>,
        reason: DenyReason,
    ) -> String {
        let mut challenge = format!(r#"Bearer realm="{base}/token",service="{}""#, self.service);
        if let Some(scope) = scope(endpoint, request) {
            challenge += &format!(r#",scope="{scope}""#);
        }
        match reason {
            DenyReason::Wrong | DenyReason::Expired => challenge += r#",error="invalid_token""#,
            DenyReason::Scope => challenge += r#",error="insufficient_scope""#,
            DenyReason::SignIn | DenyReason::Forbidden => {}
        }
        challenge
    }
}

fn basic(scheme: &Scheme) -> Option<HeaderValue> {
    HeaderValue::try_from(format!(r#"Basic realm="{}", charset="UTF-8""#, scheme.realm)).ok()
}

/// Returns the host and port of a base URL: the argument of `docker login`.
fn host(base: &str) -> String {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// Returns the token scope that a request needs.
fn scope(endpoint: &Endpoint, request: AccessRequest<'_>) -> Option<String> {
    let (right, repository) = match (endpoint.requirement(request.method), endpoint.repository()) {
        (Requirement::List { .. }, _) => return Some("registry:catalog:*".to_owned()),
        (Requirement::Repository(right), Some(repository)) => (right, repository),
        _ => return None,
    };
    let actions = match right {
        Right::Pull | Right::Fill => "pull",
        Right::Push => "pull,push",
        Right::Delete => "delete",
        Right::Administer => "*",
    };
    let scope = format!("repository:{repository}:{actions}");
    Some(match mount_source(endpoint, request.uri) {
        Some(from) if from != *repository => format!("{scope} repository:{from}:pull"),
        _ => scope,
    })
}

/// Returns the source repository of a cross-repository mount.
pub(crate) fn mount_source(endpoint: &Endpoint, uri: &Uri) -> Option<RepositoryName> {
    let Endpoint::Uploads(_) = endpoint else { return None };
    let query = Query::new(uri.query());
    query.get_filled("mount")?;
    query.get_filled("from")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_source_is_read_for_uploads_only() {
        let name: RepositoryName = "team/app".parse().unwrap();
        let uploads = Endpoint::Uploads(name.clone());
        let from = |endpoint: &Endpoint, query: &str| {
            mount_source(endpoint, &format!("/x?{query}").parse().unwrap())
        };
        assert_eq!(from(&uploads, "mount=sha256:x&from=a/b"), Some("a/b".parse().unwrap()));
        assert_eq!(from(&uploads, "from=a/b"), None);
        assert_eq!(from(&uploads, "mount=x&from=../b"), None);
        assert_eq!(from(&Endpoint::Tags(name), "mount=x&from=a/b"), None);
    }
}
