//! Rows of the outbox, and the items of the `repositories/` view that they concern.

use oci::RepositoryName;

use super::super::sql::{Row, Sql, params};
use super::super::{Change, ChangeKind, NewChange, ViewItem, columns};
use super::history;
use crate::StoreError;

/// The consumer that writes the `repositories/` view.
pub(in crate::metadata) const VIEW: &str = "view";

/// Appends a change of the transaction.
pub(in crate::metadata) fn append(sql: Sql<'_>, new: NewChange) -> Result<(), StoreError> {
    let NewChange { kind, repository, tag, digest, previous, detail, actor, for_view } = new;
    let actor = actor.as_ref().or(sql.actor());
    let (at, text) = (columns::now(), detail.as_ref().map(ToString::to_string));
    if let (Some(repository), Some(tag), ChangeKind::TagMoved | ChangeKind::TagDeleted) =
        (&repository, &tag, kind)
        && previous != digest
    {
        history::record(sql, repository, tag, previous.as_ref(), digest.as_ref(), at)?;
    }
    let address = actor.and_then(|actor| actor.address);
    let account = actor.and_then(|actor| actor.account.as_deref());
    let request_id = actor.and_then(|actor| actor.request_id.as_deref());
    let id = sql.first(
        "INSERT INTO changes
            (at, kind, repository, tag, digest, previous, account, request_id, address, detail, for_view)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) RETURNING id",
        params![
            at,
            kind.as_str(),
            repository.as_ref().map(RepositoryName::as_str),
            tag.as_ref().map(oci::Tag::as_str),
            digest.as_ref().map(columns::key),
            previous.as_ref().map(columns::key),
            account,
            request_id,
            address.map(|address| address.to_string()),
            text,
            i64::from(for_view),
        ],
        |row| row.get(0),
    )?;
    sql.record(Change {
        id: id.unwrap_or(0),
        at: columns::from_millis(at),
        kind,
        repository,
        tag,
        digest,
        previous,
        account: account.map(str::to_owned),
        request_id: request_id.map(str::to_owned),
        address,
        detail,
    });
    Ok(())
}

pub(in crate::metadata) fn cursor(sql: Sql<'_>, consumer: &str) -> Result<Option<i64>, StoreError> {
    sql.first("SELECT cursor FROM change_consumers WHERE name = ?1", params![consumer], |row| row.get(0))
}

/// Advances the cursor of a consumer. An earlier cursor changes nothing.
pub(in crate::metadata) fn acknowledge(sql: Sql<'_>, consumer: &str, up_to: i64) -> Result<(), StoreError> {
    sql.send(
        "UPDATE change_consumers SET cursor = ?2 WHERE name = ?1 AND cursor < ?2",
        params![consumer, up_to],
    )
}

/// The columns `kind` and `item` of an item that the view could not write.
pub(in crate::metadata) fn columns_of(item: &ViewItem) -> (&'static str, String) {
    match item {
        ViewItem::Layer(digest) => ("layer", digest.to_string()),
        ViewItem::Revision(digest) => ("revision", digest.to_string()),
        ViewItem::Tag(tag) => ("tag", tag.to_string()),
        ViewItem::Repository => ("repository", String::new()),
    }
}

/// Reads the item from column `kind` and the next one.
pub(in crate::metadata) fn blocked_item(row: &Row<'_>, kind: usize) -> Result<ViewItem, StoreError> {
    Ok(match row.text(kind)? {
        "layer" => ViewItem::Layer(columns::text(row, kind + 1)?),
        "revision" => ViewItem::Revision(columns::text(row, kind + 1)?),
        "tag" => ViewItem::Tag(columns::text(row, kind + 1)?),
        _ => ViewItem::Repository,
    })
}

/// Reads the item that a change concerns from the columns `kind`, `tag` and `digest`, beginning at `kind`.
pub(in crate::metadata) fn changed_item(row: &Row<'_>, kind: usize) -> Result<ViewItem, StoreError> {
    Ok(match columns::text(row, kind)? {
        ChangeKind::BlobLinked | ChangeKind::BlobUnlinked => ViewItem::Layer(columns::digest(row, kind + 2)?),
        ChangeKind::ManifestPut | ChangeKind::ManifestRestored | ChangeKind::ManifestDeleted => {
            ViewItem::Revision(columns::digest(row, kind + 2)?)
        }
        ChangeKind::TagMoved | ChangeKind::TagDeleted => ViewItem::Tag(columns::text(row, kind + 1)?),
        _ => ViewItem::Repository,
    })
}

/// Whether an item is pending, so that the view differs from the metadata.
pub(in crate::metadata) fn is_pending(
    sql: Sql<'_>,
    repository: &RepositoryName,
    item: &ViewItem,
) -> Result<bool, StoreError> {
    let (kind, text) = columns_of(item);
    let is_blocked = sql.exists(
        "SELECT 1 FROM view_blocked WHERE repository = ?1 AND kind = ?2 AND item = ?3",
        params![repository.as_str(), kind, text],
    )?;
    if is_blocked {
        return Ok(true);
    }
    let mut is_pending = false;
    sql.each_while(
        "SELECT kind, tag, digest FROM changes
         WHERE id > (SELECT cursor FROM change_consumers WHERE name = ?1) AND for_view = 1 AND repository = ?2",
        params![VIEW, repository.as_str()],
        |row| {
            is_pending = changed_item(row, 0)? == *item;
            Ok(!is_pending)
        },
    )?;
    Ok(is_pending)
}

/// Whether any item is pending.
pub(in crate::metadata) fn any_pending(sql: Sql<'_>) -> Result<bool, StoreError> {
    sql.exists(
        "SELECT 1 FROM changes
         WHERE id > (SELECT cursor FROM change_consumers WHERE name = ?1) AND for_view = 1
         UNION ALL SELECT 1 FROM view_blocked LIMIT 1",
        params![VIEW],
    )
}
