//! Endpoints: repositories and their space in the management API.

macro_rules! rows {
    ($callback:ident $($before:tt)*) => {
        $crate::http::endpoints::accounts::rows! { $callback $($before)*
/// All repositories, with their properties.
ApiRepositories [] "api_repositories" "/api/v1/repositories" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::repositories::list {
        "List the repositories that the caller may pull from"
        .parameters(&[
            PAGE[0],
            ("last", "string", "The cursor of the page before: its last name, or the value in its `Link`."),
            ("sort", "string", "`name`, or with the largest value first: `pushed`, `size`, `pulls`."),
            ("namespace", "string", "Only those below this first component."),
        ])
        .answers::<Repositories>(200, "A page.")
    };
}
/// The first components of names.
ApiNamespaces [] "api_namespaces" "/api/v1/namespaces" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::repositories::namespaces {
        "List the first components of the names of repositories"
        .parameters(&PAGE).answers::<Namespaces>(200, "A page.")
    };
}
/// Search for repositories.
ApiSearch [] "api_search" "/api/v1/search" Server {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::repositories::search {
        "Search for repositories"
        .note("Each word is in the name or the description, or is the beginning of a word there.")
        .parameters(&[
            PAGE[0],
            ("last", "string", "The cursor of the page before, from its `Link`."),
            ("q", "string", "The words."),
        ])
        .answers::<SearchResults>(200, "A page.")
    };
}
/// A repository.
ApiRepository [repository: RepositoryName] "api_repository" "/api/v1/repositories/{repository}" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => api::repositories::get {
        "Look at a repository" .answers::<Repository>(200, "The repository.")
    };
    DELETE: Requirement::Repository(Right::Delete), AuditAction::Change("repository.delete") => api::repositories::delete {
        "Delete a repository with its tags, manifests and blobs" .ends(202, "It is deleted.")
    };
}
/// The tags of a repository, with their properties. No component of a name begins with an underscore.
ApiTags [repository: RepositoryName] "api_tags" "/api/v1/repositories/{repository}/_tags" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => api::tags::get {
        "List the tags of a repository"
        .parameters(&[
            PAGE[0], PAGE[1], ("sort", "string", "`name` (the default) or `pushed`, the last push first."),
            ("q", "string", "A part of the names."),
            ("all", "boolean", "Also the tags by which older clients find referrers."),
        ])
        .answers::<Tags>(200, "A page.")
    };
}
/// Deletion of several tags.
ApiDelete [repository: RepositoryName] "api_delete" "/api/v1/repositories/{repository}/_delete" Content {
    POST: Requirement::Repository(Right::Delete), AuditAction::Look("manifest.delete") => api::tags::delete {
        "Delete several tags in one step"
        .note("A tag that a rule keeps does not keep the others. The answer names both. Manifests stay.")
        .takes::<DeleteTags>().answers::<DeletedTags>(200, "The deleted and the kept tags.")
    };
}
/// A manifest, with its tags and pulls.
ApiManifest [repository: RepositoryName, reference: TagOrDigest] "api_manifest"
    "/api/v1/repositories/{repository}/_manifests/{reference}" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("manifest.look") => api::manifests::get {
        "Look at a manifest: its tags, and when it was pushed and pulled"
        .answers::<ManifestEntry>(200, "The manifest.")
    };
}
/// The changes of the tags of a repository.
ApiHistory [repository: RepositoryName] "api_history" "/api/v1/repositories/{repository}/_history" Content {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => api::history::get {
        "List each move and deletion of the tags, the latest first"
        .parameters(&[PAGE[0], PAGE[1], ("tag", "string", "Only the changes of this tag.")])
        .answers::<History>(200, "A page.")
    };
}
/// Takes back changes of a tag.
ApiUndo [repository: RepositoryName] "api_undo" "/api/v1/repositories/{repository}/_undo" Content {
    POST: Requirement::Repository(Right::Push), AuditAction::Change("tag.undo") => api::history::undo {
        "Point a tag to an earlier image, also to a deleted one until its grace period ends"
        .takes::<Undo>().answers::<Undone>(200, "The tag as it is now.")
    };
}
/// Deleted manifests.
ApiTrash [repository: RepositoryName] "api_trash" "/api/v1/repositories/{repository}/_trash" Content {
    GET | HEAD: Requirement::Repository(Right::Push), AuditAction::Look("repository.look") => api::trash::get {
        "List the deleted manifests that can be restored, the last deleted first"
        .parameters(&PAGE).answers::<Trash>(200, "A page.")
    };
    POST: Requirement::Repository(Right::Push), AuditAction::Change("manifest.restore") => api::trash::restore {
        "Restore a deleted manifest with its tags"
        .takes::<Restore>().answers::<RestoredManifests>(200, "The restored images and tags.")
    };
}
/// Quotas and their use.
ApiQuotas [] "api_quotas" "/api/v1/usage/quotas" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::quotas::get {
        "List quotas and their use"
        .note("Administrators see all, others those of their own repositories and of single repositories.")
        .answers::<Quotas>(200, "The quotas.")
    };
}
/// Space used by the registry.
ApiUsage [] "api_usage" "/api/v1/usage" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::usage::get {
        "Get the used space" .answers::<Usage>(200, "The space.")
    };
}
/// Space used by each repository.
ApiRepositoryUsage [] "api_repository_usage" "/api/v1/usage/repositories" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::usage::repositories {
        "Get the space that each repository takes"
        .parameters(&PAGE).answers::<RepositoryUsages>(200, "A page.")
    };
}
/// Space used by each owner.
ApiOwnerUsage [] "api_owner_usage" "/api/v1/usage/owners" Content {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => api::usage::owners {
        "Get the space that the repositories of each owner take"
        .parameters(&PAGE).answers::<OwnerUsages>(200, "A page.")
    };
}
/// The OpenAPI document.
ApiDescription [] "api_openapi" "/api/v1/openapi.json" Server {
    GET | HEAD: Requirement::Own, AuditAction::None => api::openapi::get {
        "This description" .open().ends(200, "OpenAPI 3.1.")
    };
}
/// Versions of the server.
ApiVersion [] "api_version" "/api/v1/version" Server {
    GET | HEAD: Requirement::Credentials, AuditAction::None => manage::version {
        "Get the versions of the server" .answers::<Version>(200, "The versions.")
    };
}
        }
    };
}

pub(crate) use rows;
