//! Retention: runs, previews, undo, and the rules of owners.

use accounts::AccountName;
use api::{RetentionRequest, RetentionRules, RunUndone, UndoRun};
use registry::rules::retention;

use super::{body, manage, map_error, no_content, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::gateway_error::GatewayError;
use crate::http::response::Response;

/// Shows the deletions of a run, and deletes nothing.
pub(crate) async fn preview(call: Call<'_>) -> Result<Response, Error> {
    run_or_preview(call, true).await
}

/// Deletes the tags that no rule keeps.
pub(crate) async fn run(call: Call<'_>) -> Result<Response, Error> {
    run_or_preview(call, false).await
}

async fn run_or_preview(mut call: Call<'_>, is_preview: bool) -> Result<Response, Error> {
    must_administrate(&call)?;
    let RetentionRequest { repository } = body(&mut call).await?;
    let registry = call.registry();
    // A client that disconnects does not end a run half-way.
    let run = tokio::spawn(async move { registry.run_retention(repository.as_ref(), is_preview).await });
    Ok(ok(&convert::retention_report(finished(run.await)?)))
}

/// Takes back all deletions of a run.
pub(crate) async fn undo(mut call: Call<'_>) -> Result<Response, Error> {
    must_administrate(&call)?;
    let UndoRun { run } = body(&mut call).await?;
    let registry = call.registry();
    let id = run.clone();
    let undone = async move {
        let mut tags = Vec::new();
        for tag in registry.undo_retention(&id).await? {
            let incomplete = tag.is_restored && registry.lacks_content(&tag.repository, &tag.digest).await;
            tags.push(convert::run_tag(tag, incomplete));
        }
        Ok(tags)
    };
    let tags = finished(tokio::spawn(undone).await)?;
    if tags.is_empty() {
        return Err(registry::Error::NoRun(run).into());
    }
    let restored = tags.iter().filter(|tag| tag.restored).count() as u64;
    Ok(ok(&RunUndone { restored, tags }))
}

fn must_administrate(call: &Call<'_>) -> Result<(), Error> {
    map_error(call, manage(call).must_be_administrator())?;
    if call.app.content_proxy.is_some() { Err(GatewayError::Unsupported.into()) } else { Ok(()) }
}

fn finished<T>(ended: Result<Result<T, registry::Error>, tokio::task::JoinError>) -> Result<T, Error> {
    let closed = registry::Error::Store(registry::records::StoreError::Closed);
    Ok(ended.unwrap_or(Err(closed))?)
}

pub(crate) async fn rules(call: Call<'_>, owner: &AccountName) -> Result<Response, Error> {
    get(call, Some(owner)).await
}

pub(crate) async fn set_rules(call: Call<'_>, owner: &AccountName) -> Result<Response, Error> {
    set(call, Some(owner)).await
}

pub(crate) async fn remove_rules(call: Call<'_>, owner: &AccountName) -> Result<Response, Error> {
    remove(call, Some(owner)).await
}

pub(crate) async fn server_rules(call: Call<'_>) -> Result<Response, Error> {
    get(call, None).await
}

pub(crate) async fn set_server_rules(call: Call<'_>) -> Result<Response, Error> {
    set(call, None).await
}

pub(crate) async fn remove_server_rules(call: Call<'_>) -> Result<Response, Error> {
    remove(call, None).await
}

/// Answers with the rules of an owner, or with those of all repositories.
async fn get(call: Call<'_>, owner: Option<&AccountName>) -> Result<Response, Error> {
    map_error(&call, manage(&call).must_rule(owner).await)?;
    let json = call.app.registry.stored_retention(owner).await?;
    let rules = json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    Ok(ok(&RetentionRules { rules }))
}

async fn set(mut call: Call<'_>, owner: Option<&AccountName>) -> Result<Response, Error> {
    map_error(&call, manage(&call).must_rule(owner).await)?;
    let RetentionRules { rules } = body(&mut call).await?;
    let json = serde_json::to_string(&rules).expect("our own types have string keys and no custom code");
    let parsed = retention::from_json(&json).map_err(Error::BadRetention)?;
    // Rules that were stored before are still read.
    if parsed.iter().any(|rule| rule.repositories.is_empty() || rule.tags.is_empty()) {
        return Err(Error::BadRetention(
            "a rule with an empty list of repositories or tags selects nothing; \"**\" is every repository, and \"*\" \
             is every tag"
                .to_owned(),
        ));
    }
    if let Some(owner) = owner
        && let Some(foreign) = parsed.iter().find(|rule| !retention::is_within(rule, owner.as_str()))
    {
        return Err(Error::BadRetention(format!(
            "the rule for {:?} is not for repositories of {owner} only: write {owner}/app, {owner}/* or {owner}/**",
            foreign.repositories
        )));
    }
    let saved = manage(&call).set_retention(&call.registry(), owner, Some(json)).await;
    map_error(&call, saved)?;
    Ok(no_content())
}

async fn remove(call: Call<'_>, owner: Option<&AccountName>) -> Result<Response, Error> {
    map_error(&call, manage(&call).must_rule(owner).await)?;
    let saved = manage(&call).set_retention(&call.registry(), owner, None).await;
    map_error(&call, saved)?;
    Ok(no_content())
}
