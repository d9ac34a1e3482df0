//! Rows of the outbox of the `repositories/` view: one per item that a transaction changed.

use oci::RepositoryName;

use super::super::sql::{Row, Sql, params};
use super::super::{ViewItem, columns};
use crate::StoreError;

/// The columns `kind` and `item` of an entry.
fn columns_of(item: &ViewItem) -> (&'static str, String) {
    match item {
        ViewItem::Layer(digest) => ("layer", digest.to_string()),
        ViewItem::Revision(digest) => ("revision", digest.to_string()),
        ViewItem::Tag(tag) => ("tag", tag.to_string()),
        ViewItem::Repository => ("repository", String::new()),
    }
}

/// Whether `item` is pending, so that the view differs from the metadata.
pub(in crate::metadata) fn is_pending(
    sql: Sql<'_>,
    repository: &RepositoryName,
    item: &ViewItem,
) -> Result<bool, StoreError> {
    let (kind, text) = columns_of(item);
    sql.exists(
        "SELECT 1 FROM view_changes WHERE repository = ?1 AND kind = ?2 AND item = ?3 LIMIT 1",
        params![repository.as_str(), kind, text],
    )
}

/// Enqueues the link of a blob in a repository, by their ids.
pub(in crate::metadata) fn enqueue_blob(
    sql: Sql<'_>,
    repository: i64,
    kind: &'static str,
    blob: i64,
) -> Result<(), StoreError> {
    // Spells the digest: its first byte is the algorithm.
    sql.run(
        "INSERT INTO view_changes (repository, kind, item)
         SELECT r.name, ?2, CASE SUBSTR(b.digest, 1, 1) WHEN x'01' THEN 'sha256:' ELSE 'sha512:' END
                            || LOWER(HEX(SUBSTR(b.digest, 2)))
         FROM repositories r, blobs b WHERE r.id = ?1 AND b.id = ?3",
        params![repository, kind, blob],
    )?;
    Ok(())
}

/// Enqueues a changed item of the view.
pub(in crate::metadata) fn enqueue(
    sql: Sql<'_>,
    repository: &RepositoryName,
    item: &ViewItem,
) -> Result<(), StoreError> {
    let (kind, text) = columns_of(item);
    sql.run(
        "INSERT INTO view_changes (repository, kind, item) VALUES (?1, ?2, ?3)",
        params![repository.as_str(), kind, text],
    )?;
    Ok(())
}

/// Reads an item from column `kind` and the next one.
pub(in crate::metadata) fn item(row: &Row<'_>, kind: usize) -> Result<ViewItem, StoreError> {
    Ok(match row.text(kind)? {
        "layer" => ViewItem::Layer(columns::text(row, kind + 1)?),
        "revision" => ViewItem::Revision(columns::text(row, kind + 1)?),
        "tag" => ViewItem::Tag(columns::text(row, kind + 1)?),
        _ => ViewItem::Repository,
    })
}
