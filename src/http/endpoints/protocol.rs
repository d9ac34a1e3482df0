//! Endpoints: the registry protocol, tokens, search for docker, and the health of the server.

macro_rules! rows {
    ($callback:ident) => {
        $crate::http::endpoints::repositories::rows! { $callback
/// `/`: a page for people.
Root [] "root" "/" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => root::get;
}
/// Liveness probe.
Health [] "health" "/healthz" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => health::health;
}
/// Readiness probe.
Ready [] "ready" "/readyz" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => health::ready;
}
/// Metrics, for administrators on a server that listens on loopback.
Metrics [] "metrics" "/metrics" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => scrape::get;
}
/// `/v1/_ping` and `/_ping`: docker asks it before a search.
Ping [] "ping" "/v1/_ping" Protocol {
    GET | HEAD: Requirement::Nothing, AuditAction::None => v1::ping::get;
}
/// Repository search.
Search [] "search" "/v1/search" Protocol {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => v1::search::get;
}
/// Token server.
Token [] "token" "/token" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => token::get;
    POST: Requirement::Nothing, AuditAction::None => token::post;
}
/// Public keys of the token server.
Jwks [] "jwks" "/.well-known/jwks.json" Server {
    GET | HEAD: Requirement::Nothing, AuditAction::None => jwks::get;
}
/// Authorization for reverse proxies (`auth_request`), with the method of the proxied request or any other.
Auth [] "auth" "/auth" Server {
    GET | HEAD | POST | PUT | PATCH | DELETE: Requirement::Nothing, AuditAction::None => auth::answered_earlier;
}
/// `/v2/`: support of the registry protocol.
Base [] "base" "/v2/" Protocol {
    GET | HEAD: Requirement::Credentials, AuditAction::None => v2::base::get;
}
/// All repositories.
Catalog [] "catalog" "/v2/_catalog" Protocol {
    GET | HEAD: Requirement::List { closed: true }, AuditAction::None => v2::catalog::get;
}
/// The tags of a repository.
Tags [repository: RepositoryName] "tags" "/v2/{repository}/tags/list" ProtocolContent {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => v2::tags::get;
}
/// A manifest, by a tag or its digest.
Manifest [repository: RepositoryName, reference: TagOrDigest] "manifest"
    "/v2/{repository}/manifests/{reference}" ProtocolContent {
    GET: Requirement::Repository(Right::Pull), AuditAction::Pull("manifest.pull") => v2::manifests::get;
    HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("manifest.look") => v2::manifests::get;
    PUT: Requirement::Repository(Right::Push), AuditAction::Change("manifest.push") => v2::manifests::put;
    DELETE: Requirement::Repository(Right::Delete), AuditAction::Change("manifest.delete") => v2::manifests::delete;
}
/// A blob.
Blob [repository: RepositoryName, digest: Digest] "blob" "/v2/{repository}/blobs/{digest}" ProtocolContent {
    GET: Requirement::Repository(Right::Pull), AuditAction::Pull("blob.pull") => v2::blobs::get;
    HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("blob.look") => v2::blobs::get;
    DELETE: Requirement::Repository(Right::Delete), AuditAction::Change("blob.delete") => v2::blobs::delete;
}
/// Start of an upload.
Uploads [repository: RepositoryName] "uploads" "/v2/{repository}/blobs/uploads/" ProtocolContent {
    POST: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::post;
}
/// An upload. Only its pusher may read or cancel it.
Upload [repository: RepositoryName, id: Uuid] "upload" "/v2/{repository}/blobs/uploads/{upload}" ProtocolContent {
    GET | HEAD: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::get;
    PATCH: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::patch;
    PUT: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::put;
    DELETE: Requirement::Repository(Right::Push), AuditAction::Upload => v2::uploads::delete;
}
/// The manifests that refer to a digest.
Referrers [repository: RepositoryName, digest: Digest] "referrers" "/v2/{repository}/referrers/{digest}"
    ProtocolContent {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => v2::referrers::get;
}
        }
    };
}

pub(crate) use rows;
