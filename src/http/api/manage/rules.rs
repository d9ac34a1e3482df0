//! `/api/v1/rules`: immutable and protected tags, and the tags that a rule would select.

use api::{RulePreview, Rules, SelectedTag, TagRule};
use registry::rules::{self, RepositorySelector, TagSelector};

use super::{must_be_administrator, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The tags of a preview.
const LISTED: usize = 200;

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let query = call.query();
    let repositories =
        query.parsed::<RepositorySelector>("repositories", "a name, a pattern or /expression/")?;
    let tags = query.parsed::<TagSelector>("tags", "a glob, /expression/ or a version range")?;
    let mut rules = in_force(&call).await?;
    if let (Some(repositories), Some(tags)) = (repositories, tags) {
        rules.preview = Some(preview(&call, repositories, tags).await?);
    }
    Ok(ok(&rules))
}

/// Returns the rules of the configuration, and the retention rules of owners.
pub(crate) async fn in_force(call: &Call<'_>) -> Result<Rules, Error> {
    let rules = call.app.registry.rules();
    let rule = |rule: &rules::TagRule| TagRule {
        repositories: rule.repositories.iter().map(ToString::to_string).collect(),
        tags: rule.tags.iter().map(ToString::to_string).collect(),
    };
    let retention = match call.app.content_proxy {
        // A gateway deletes no tags.
        Some(_) => Vec::new(),
        None => call.app.registry.retention_rules().await?,
    };
    Ok(Rules {
        immutable: rules.immutable.iter().map(rule).collect(),
        protected: rules.protected.iter().map(rule).collect(),
        retention: retention.into_iter().map(convert::retention_rule).collect(),
        preview: None,
    })
}

/// Returns the tags that a rule selects.
pub(crate) async fn preview(
    call: &Call<'_>,
    repositories: RepositorySelector,
    tags: TagSelector,
) -> Result<RulePreview, Error> {
    let rule = rules::TagRule { repositories: vec![repositories], tags: vec![tags] };
    let found = call.app.registry.preview_tag_rule(&rule, LISTED).await?;
    let tags = found.items.into_iter().map(|(repository, tag)| SelectedTag { repository, tag });
    Ok(RulePreview { tags: tags.collect(), more: found.more })
}
