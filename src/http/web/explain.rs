//! Errors in the language of the page. An error without a text here is shown in English, marked as such.

use accounts::Right;
use registry::Error as RegistryError;
use registry::access::PasswordRefused;
use registry::access::manage::ManageError;

use super::page::Page;
use crate::http::error::Error;
use crate::http::middleware::denied::{Denied, DenyReason};

/// A key of the catalogue with its values.
type Text = (&'static str, Vec<(&'static str, String)>);

/// Explains the error of a page.
pub(crate) fn explain(page: &Page, error: &Error) -> Option<String> {
    text_of(error).map(|text| written(page, text))
}

/// Explains why a change of accounts was refused.
pub(crate) fn explain_refusal(page: &Page, error: &ManageError) -> Option<String> {
    text_of_refusal(error).map(|text| written(page, text))
}

/// The repository that lacks the content of an error.
pub(crate) fn repository_of(error: &Error) -> Option<&oci::RepositoryName> {
    let Error::Registry(error) = error else { return None };
    match error {
        RegistryError::ManifestUnknown { repository, .. }
        | RegistryError::ManifestGone { repository, .. }
        | RegistryError::NotInHistory { repository, .. } => Some(repository),
        _ => None,
    }
}

fn written(page: &Page, (key, values): Text) -> String {
    let values: Vec<(&'static str, &str)> =
        values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    page.language.text_with(key, &values)
}

fn plain(key: &'static str) -> Option<Text> {
    Some((key, Vec::new()))
}

fn with(key: &'static str, value: impl std::fmt::Display) -> Option<Text> {
    Some((key, vec![("value", value.to_string())]))
}

fn text_of(error: &Error) -> Option<Text> {
    match error {
        Error::Registry(error) => text_of_registry(error),
        Error::Manage(error) => text_of_refusal(error),
        Error::Path(_) => plain("error-path"),
        Error::Method => plain("error-method"),
        Error::BadParameter { parameter, .. } | Error::BadDigest { parameter, .. } => {
            with("error-parameter", parameter)
        }
        Error::BadTag(_) => plain("error-tag"),
        Error::NoUpstream(name) => with("error-upstream", name),
        Error::Denied(Denied { reason: DenyReason::Forbidden, .. }) => plain("error-forbidden-text"),
        Error::NoRight(right) => plain(match right.right() {
            Right::Pull => "error-right-pull",
            Right::Push => "error-right-push",
            Right::Delete => "error-right-delete",
            Right::Administer => "error-right-administer",
            Right::Fill => "error-right-fill",
        }),
        Error::CrossSite { origin } => with("error-cross-site", origin),
        Error::ForeignHost { host } => with("error-foreign-host", host),
        Error::FormExpired => plain("error-form-expired"),
        Error::NoForm => plain("error-form"),
        Error::TooMany { wait } => with("error-wait", wait.as_secs() + 1),
        Error::Overloaded => plain("error-overloaded"),
        Error::NotPrimary | Error::OnlyPrimary { .. } | Error::NoPrimary => plain("error-unavailable"),
        Error::Forward(_) => plain("error-forward"),
        Error::NotReady(_) => plain("error-unavailable"),
        _ => None,
    }
}

fn text_of_registry(error: &RegistryError) -> Option<Text> {
    use RegistryError as E;
    match error {
        E::NameUnknown(name) => with("error-no-repository", name),
        E::ManifestUnknown { repository, target } => {
            with("error-no-image", format_args!("{repository}:{target}"))
        }
        E::ManifestGone { target, .. } => with("error-gone", target),
        E::NotInHistory { digest, .. } => with("error-gone", digest),
        E::BlobUnknown { digest, .. } | E::ContentUnknown { digest, .. } => with("error-no-content", digest),
        E::BlobDamaged { digest, .. } | E::ManifestDamaged { digest, .. } => with("error-damaged", digest),
        E::DeleteDisabled => plain("error-no-deletion"),
        E::TagRefused { tag, refusal, .. } => Some((
            if refusal.is_immutable { "error-immutable" } else { "error-protected" },
            vec![("value", tag.to_string()), ("rule", refusal.pattern.clone())],
        )),
        E::QuotaExceeded(excess) => with("error-quota", &excess.scope),
        E::NoHistory { tag, .. } => with("error-no-history", tag),
        E::NothingToUndo { tag, .. } => with("error-nothing-to-undo", tag),
        E::NotAdopted { .. } => plain("error-not-adopted"),
        E::Full | E::ReserveReached { .. } => plain("error-full"),
        E::ReadOnly => plain("error-read-only"),
        E::Moving => plain("error-moving"),
        E::Unavailable(_) | E::Replica => plain("error-unavailable"),
        E::Busy => plain("error-busy"),
        E::PasswordRefused(refused) => Some(text_of_password(*refused)),
        E::NameUnfit(_) => plain("problem-name"),
        _ => None,
    }
}

fn text_of_password(refused: PasswordRefused) -> Text {
    let key = match refused {
        PasswordRefused::TooShort => "problem-password-short",
        PasswordRefused::TooLong => "problem-password-long",
        PasswordRefused::Obvious => "problem-password-obvious",
        PasswordRefused::ControlCharacter => "problem-password-characters",
        PasswordRefused::LooksLikeToken => "problem-password-token",
    };
    (key, Vec::new())
}

fn text_of_refusal(error: &ManageError) -> Option<Text> {
    use ManageError as E;
    match error {
        E::NameTaken(_) | E::NameReserved(_) | E::TeamTaken(_) => plain("problem-taken"),
        E::NamespaceInUse(_) => plain("problem-namespace"),
        E::Name(_) | E::NameUnfit { .. } => plain("problem-name"),
        E::NotFound { .. } | E::SubjectUnknown(_) | E::OwnerUnknown(_) => plain("problem-unknown"),
        E::NotAMember { user, .. } => with("problem-not-a-member", user),
        E::LastAdministrator => plain("problem-last-administrator"),
        E::LastUser => plain("problem-last-user"),
        E::LastOwner { user, organisations } => {
            Some(("problem-last-owner", vec![("value", user.to_string()), ("of", organisations.clone())]))
        }
        E::NoRights => plain("problem-no-rights"),
        E::PatternUnfit(_) => plain("problem-pattern"),
        E::HasRepositories { .. } => plain("problem-has-repositories"),
        E::NotOfThisKind(name) => with("problem-no-user", name),
        E::PasswordElsewhere(_) => plain("problem-password-elsewhere"),
        E::InTheFile(name) => with("problem-in-the-file", name),
        E::Password(refused) => Some(text_of_password(*refused)),
        E::LimitReached { limit, .. } => with("problem-limit", limit),
        E::TextTooLong => plain("problem-long-text"),
        E::RegistrationClosed => plain("problem-registration"),
        E::TooMany { retry_after } => with("error-wait", retry_after.as_secs().max(1)),
        E::Denied(_) => plain("problem-denied"),
        E::Registry(error) => text_of_registry(error),
        E::SignIn(_) | E::Token(_) | E::Random(_) => None,
    }
}
