//! Endpoints: pages for browsers.

macro_rules! rows {
    ($callback:ident $($before:tt)*) => {
        $callback! { $($before)*
/// The page of all repositories, and of a search.
PageHome [] "page_home" "/" Page {
    GET | HEAD: Requirement::List { closed: false }, AuditAction::None => web::home::get;
}
/// The page of a repository.
PageRepository [repository: RepositoryName] "page_repository" "/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => web::repository::get;
}
/// The page of a tag or of a manifest: `/team/app:1.0`, `/team/app@sha256:…`.
PageManifest [repository: RepositoryName, reference: TagOrDigest] "page_manifest" "/{repository}:{reference}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("manifest.look") => web::manifest::get;
}
/// A blob as a file.
PageFile [repository: RepositoryName, digest: Digest] "page_file" "/-/file/{repository}@{digest}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Pull("blob.pull") => web::file::get;
}
/// The difference of two tags.
PageCompare [repository: RepositoryName] "page_compare" "/-/compare/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => web::compare::get;
}
/// Deletion of a tag or a manifest.
PageDelete [repository: RepositoryName, reference: TagOrDigest] "page_delete" "/-/delete/{repository}:{reference}" Page {
    GET | HEAD: Requirement::Repository(Right::Delete), AuditAction::Look("manifest.look") => web::delete::get;
    POST: Requirement::Repository(Right::Delete), AuditAction::Form("manifest.delete") => web::delete::post;
}
/// Deletion of several tags.
PageDeleteTags [repository: RepositoryName] "page_delete_tags" "/-/delete-tags/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Delete), AuditAction::Look("repository.look") => web::delete_tags::get;
    POST: Requirement::Repository(Right::Delete), AuditAction::Look("manifest.delete") => web::delete_tags::post;
}
/// Deletion of a repository.
PageDeleteRepository [repository: RepositoryName] "page_delete_repository" "/-/delete/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Delete), AuditAction::Look("repository.look") => web::delete::get_repository;
    POST: Requirement::Repository(Right::Delete), AuditAction::Form("repository.delete")
        => web::delete::post_repository;
}
/// Another tag for a manifest.
PageRetag [repository: RepositoryName, reference: TagOrDigest] "page_retag" "/-/retag/{repository}:{reference}" Page {
    POST: Requirement::Repository(Right::Push), AuditAction::Form("manifest.push") => web::retag::post;
}
/// The changes of tags, and taking them back.
PageHistory [repository: RepositoryName] "page_history" "/-/history/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Pull), AuditAction::Look("repository.look") => web::history::get;
    POST: Requirement::Repository(Right::Push), AuditAction::Form("tag.undo") => web::history::post;
}
/// Deleted manifests, and their restoration.
PageTrash [repository: RepositoryName] "page_trash" "/-/trash/{repository}" Page {
    GET | HEAD: Requirement::Repository(Right::Push), AuditAction::Look("repository.look") => web::trash::get;
    POST: Requirement::Repository(Right::Push), AuditAction::Form("manifest.restore") => web::trash::post;
}
/// A style sheet, a script or an icon.
PageAsset [asset: String] "page_asset" "/-/assets/{asset}" Page {
    GET | HEAD: Requirement::Nothing, AuditAction::None => web::assets::get;
}
/// Sign-in with a password.
PageSignIn [] "page_sign_in" "/-/sign-in" Page {
    GET | HEAD | POST: Requirement::Nothing, AuditAction::None => web::sign_in::answer;
}
/// End of a session.
PageSignOut [] "page_sign_out" "/-/sign-out" Page {
    POST: Requirement::Nothing, AuditAction::None => web::sign_in::sign_out;
}
/// The caller's own account.
PageAccount [] "page_account" "/-/account" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::account::answer;
}
/// Explanation of access.
PageAccess [] "page_access" "/-/access" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::access::get;
}
/// The organisations of the caller.
PageOrganisations [] "page_organisations" "/-/organisations" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::organisations::list;
}
/// An organisation.
PageOrganisation [organisation: AccountName] "page_organisation" "/-/organisations/{organisation}" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::organisations::answer;
}
/// Health, space and settings.
PageAdmin [] "page_admin" "/-/admin" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::admin::overview::get;
}
/// All users.
PageAccounts [] "page_accounts" "/-/admin/accounts" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::accounts::answer;
}
/// A user, for administrators.
PageUser [user: AccountName] "page_user" "/-/admin/accounts/{user}" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::account::answer;
}
/// The grants on the caller's repositories; all grants for administrators.
PageGrants [] "page_grants" "/-/grants" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::grants::answer;
}
/// Quotas and retention.
PageRules [] "page_rules" "/-/admin/rules" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::rules::answer;
}
/// Garbage collection and background jobs.
PageJobs [] "page_jobs" "/-/admin/jobs" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::jobs::answer;
}
/// The upstreams of the cache.
PageUpstreams [] "page_upstreams" "/-/admin/upstreams" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::admin::upstreams::answer;
}
/// Webhooks.
PageWebhooks [] "page_webhooks" "/-/webhooks" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::webhooks::list;
}
/// A webhook with its deliveries.
PageWebhook [webhook: WebhookId] "page_webhook" "/-/webhooks/{webhook}" Page {
    GET | HEAD | POST: Requirement::Own, AuditAction::None => web::webhooks::answer;
}
/// The audit log.
PageAudit [] "page_audit" "/-/admin/audit" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::admin::audit::get;
}
/// Space by repository.
PageUsage [] "page_usage" "/-/admin/usage" Page {
    GET | HEAD: Requirement::Own, AuditAction::None => web::admin::usage::get;
}
/// The reference of the API.
PageReference [] "page_reference" "/-/api" Page {
    GET | HEAD: Requirement::Nothing, AuditAction::None => web::reference::get;
}
/// The self-signed certificate.
PageCertificate [] "page_certificate" "/-/certificate" Page {
    GET | HEAD: Requirement::Nothing, AuditAction::None => web::certificate::get;
}
/// The switch between languages.
PageLanguage [] "page_language" "/-/language" Page {
    POST: Requirement::Nothing, AuditAction::None => web::switch::post;
}
        }
    };
}

pub(crate) use rows;
