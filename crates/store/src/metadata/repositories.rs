//! Repositories: existence, lists, descriptions and deletion.

use oci::RepositoryName;

use super::rows::repositories::{describe, find};
use super::sql::{Row, Sql, params};
use super::usage::content_of;
use super::visible::names;
use super::writer::Durability;
use super::{JobStep, Metadata, RepositoryRecord, columns, counted_space};
use crate::StoreError;
use accounts::Visible;

impl Metadata {
    /// Whether a repository exists: it holds at least a blob or a manifest.
    pub async fn repository_exists(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| Ok(find(sql, &repository)?.is_some())).await
    }

    /// Returns the names of visible repositories with a manifest, in the order of their bytes, after `after`.
    pub async fn catalog(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let (visible, after) = (visible.clone(), after.unwrap_or_default().to_owned());
        self.read(move |sql| match &visible {
            Visible::Everything => sql.all(
                "SELECT name FROM repositories WHERE manifests > 0 AND name > ?1 ORDER BY name LIMIT ?2",
                params![after, columns::limit_in(limit)],
                |row| columns::text(row, 0),
            ),
            Visible::Only(visible) => names(sql, visible, &after, limit),
        })
        .await
    }

    /// Returns the records of visible repositories with a manifest, by name after `after`.
    pub async fn repositories(
        &self,
        visible: &Visible,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryRecord>, StoreError> {
        let (visible, after) = (visible.clone(), after.unwrap_or_default().to_owned());
        self.read(move |sql| match &visible {
            Visible::Everything => sql.all(
                concat!(
                    repository_columns!(),
                    " FROM repositories r WHERE r.manifests > 0 AND r.name > ?1 ORDER BY r.name LIMIT ?2"
                ),
                params![after, columns::limit_in(limit)],
                record,
            ),
            Visible::Only(visible) => {
                let names = names(sql, visible, &after, limit)?;
                let records = names.iter().map(|name| named(sql, name));
                Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
        })
        .await
    }

    /// Counts the sizes of repositories that have changed, for the list by size. Returns their number, at
    /// most `limit`.
    pub async fn size_repositories(&self, limit: usize) -> Result<usize, StoreError> {
        let sizes: Vec<(i64, i64, i64, i64)> = self
            .read(move |sql| {
                sql.all(UNSIZED, params![columns::limit_in(limit)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
            })
            .await?;
        let count = sizes.len();
        if count > 0 {
            self.write(Durability::Process, move |sql| {
                for (id, manifests, updated_at, bytes) in &sizes {
                    // A repository that has changed since is counted again.
                    sql.run(
                        "UPDATE repositories SET bytes = ?4, is_sized = 1
                         WHERE id = ?1 AND manifests = ?2 AND updated_at = ?3",
                        params![*id, *manifests, *updated_at, *bytes],
                    )?;
                }
                counted_space::note_repositories(sql, sizes.iter().map(|size| size.0))
            })
            .await?;
        }
        Ok(count)
    }

    /// Returns the names of all repositories, even without manifests, after `after`.
    pub async fn all_repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let query = "SELECT name FROM repositories WHERE name > ?1 ORDER BY name LIMIT ?2";
        self.repository_names(query, after, limit).await
    }

    /// Returns the names that a query with the parameters `after` and `limit` selects.
    pub(super) async fn repository_names(
        &self,
        query: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |sql| {
            sql.all(query, params![after, columns::limit_in(limit)], |row| columns::text(row, 0))
        })
        .await
    }

    /// Returns the record of a repository.
    pub async fn repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<RepositoryRecord>, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| named(sql, &repository)).await
    }

    /// Whether there is no repository at all.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.read(|sql| Ok(!sql.exists("SELECT 1 FROM repositories LIMIT 1", &[])?)).await
    }

    /// Whether any repository holds a blob or a manifest in this registry.
    pub async fn holds_content(&self) -> Result<bool, StoreError> {
        self.read(|sql| sql.exists("SELECT 1 FROM manifests UNION ALL SELECT 1 FROM blob_links LIMIT 1", &[]))
            .await
    }

    /// Sets the description of a repository. Returns `false` if it does not exist.
    pub async fn set_description(
        &self,
        repository: &RepositoryName,
        description: String,
    ) -> Result<bool, StoreError> {
        let repository = repository.clone();
        self.write(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(false) };
            describe(sql, id, &description)?;
            Ok(true)
        })
        .await
    }

    /// Deletes a repository with its tags, manifests and links. Returns `false` if it did not exist.
    pub async fn delete_repository(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        let Some(job) = self.begin_deletion(repository).await? else { return Ok(false) };
        while self.delete_step(&job).await? != JobStep::Done {}
        Ok(true)
    }
}

/// The repositories whose size is to be counted, with their sizes.
const UNSIZED: &str = concat!(
    "SELECT r.id, r.manifests, r.updated_at, (SELECT COALESCE(SUM(b.size), 0) FROM blobs b WHERE b.id IN (",
    content_of!("r.id"),
    ")) FROM repositories r WHERE r.is_sized = 0 ORDER BY r.id LIMIT ?1"
);

/// Selects the columns of [`record`] from a repository `r`.
macro_rules! repository_columns {
    () => {
        concat!(
            "SELECT r.name, r.description, r.manifests, r.updated_at,
                    (SELECT COUNT(*) FROM tags t WHERE t.repository = r.id AND t.hidden = 0 AND NOT ",
            $crate::metadata::rows::tags::is_cosign_tag!(),
            "), CASE WHEN r.is_sized = 1 THEN r.bytes ELSE
                (SELECT COALESCE(SUM(b.size), 0) FROM blobs b WHERE b.id IN (",
            $crate::metadata::usage::content_of!("r.id"),
            ")) END, r.pulls"
        )
    };
}
pub(super) use repository_columns;

fn named(sql: Sql<'_>, repository: &RepositoryName) -> Result<Option<RepositoryRecord>, StoreError> {
    sql.first(
        concat!(repository_columns!(), " FROM repositories r WHERE r.name = ?1"),
        params![repository.as_str()],
        record,
    )
}

pub(super) fn record(row: &Row<'_>) -> Result<RepositoryRecord, StoreError> {
    Ok(RepositoryRecord {
        name: columns::text(row, 0)?,
        description: row.get(1)?,
        manifests: columns::count(row, 2)?,
        updated_at: columns::time(row, 3)?,
        tags: columns::count(row, 4)?,
        bytes: columns::count(row, 5)?,
        pulls: columns::count(row, 6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        acknowledged_items, digest, empty, layer, manifest, name, put, tag, tagged,
    };
    use super::super::{Part, Usage, ViewItem};
    use accounts::Visible;

    #[tokio::test]
    async fn lists_have_repositories_with_a_manifest() {
        let (metadata, _directory) = empty();
        assert!(metadata.is_empty().await.unwrap());
        for repository in ["app", "app/x", "app-x", "b"] {
            put(&metadata, manifest(repository, "m")).await;
        }
        metadata.link_blob(&name("app-only-a-blob"), &digest("layer"), 3).await.unwrap();
        assert!(!metadata.is_empty().await.unwrap());

        let catalog = metadata.catalog(&Visible::Everything, None, 10).await.unwrap();
        assert_eq!(catalog, ["app", "app-x", "app/x", "b"].map(name));
        assert_eq!(
            metadata.catalog(&Visible::Everything, Some("app"), 2).await.unwrap(),
            ["app-x", "app/x"].map(name)
        );
        // `after` need not be a valid name.
        assert_eq!(metadata.catalog(&Visible::Everything, Some("app/~"), 9).await.unwrap(), ["b"].map(name));
        assert_eq!(metadata.catalog(&Visible::Everything, None, 0).await.unwrap(), []);

        let listed = metadata.repositories(&Visible::Everything, Some("app"), 2).await.unwrap();
        assert_eq!(
            listed.into_iter().map(|record| record.name).collect::<Vec<_>>(),
            ["app-x", "app/x"].map(name)
        );
        let usages = metadata.repository_usage(&Visible::Everything, Some("app"), 2).await.unwrap();
        assert_eq!(
            usages.into_iter().map(|usage| usage.name).collect::<Vec<_>>(),
            ["app-x", "app/x"].map(name)
        );
        let all = metadata.all_repositories(Some("app"), 2).await.unwrap();
        assert_eq!(all, ["app-only-a-blob", "app-x"].map(name));
    }

    #[tokio::test]
    async fn repository_record_counts_content_once() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("layer"), 100).await.unwrap();
        for content in ["one", "two"] {
            let mut image = tagged("app", content, &[content, "latest"]);
            image.parts = vec![layer("layer")];
            image.description = Some(format!("image {content}"));
            put(&metadata, image).await;
        }
        let record = metadata.repository(&name("app")).await.unwrap().unwrap();
        assert_eq!((record.tags, record.manifests, record.bytes), (3, 2, 120));
        assert_eq!(record.description, "image two");
        assert_eq!(metadata.repository(&name("ap")).await.unwrap(), None);

        put(&metadata, tagged("app", "one", &[])).await;
        let record = metadata.repository(&name("app")).await.unwrap().unwrap();
        assert_eq!(record.description, "image two", "a push without a description leaves the one there");
        assert_eq!(record.manifests, 2);
    }

    #[tokio::test]
    async fn repository_is_deleted_with_its_content() {
        let (metadata, _directory) = empty();
        for repository in ["app", "app/x"] {
            metadata.link_blob(&name(repository), &digest("layer"), 100).await.unwrap();
            let mut image = tagged(repository, "m", &["latest"]);
            image.parts = vec![layer("layer")];
            put(&metadata, image).await;
        }
        acknowledged_items(&metadata).await;
        assert!(metadata.delete_repository(&name("app")).await.unwrap());
        assert!(!metadata.delete_repository(&name("app")).await.unwrap());
        let gone = [
            ViewItem::Tag(tag("latest")),
            ViewItem::Revision(digest("m")),
            ViewItem::Layer(digest("layer")),
            ViewItem::Repository,
        ];
        assert_eq!(acknowledged_items(&metadata).await, gone);
        assert_eq!(metadata.tags(&name("app"), None, 10).await.unwrap(), None);
        assert_eq!(metadata.blob(&name("app"), &digest("layer")).await.unwrap(), None);
        assert_eq!(metadata.manifest_parts(&name("app/x"), &digest("m")).await.unwrap().len(), 1);
        assert_eq!(metadata.catalog(&Visible::Everything, None, 10).await.unwrap(), [name("app/x")]);

        assert!(metadata.delete_repository(&name("app/x")).await.unwrap());
        assert!(metadata.is_empty().await.unwrap());
        let left = Usage { repositories: 0, blobs: 0, bytes: 0, unreferenced_bytes: 110 };
        assert_eq!(
            metadata.usage(&Visible::Everything).await.unwrap(),
            left,
            "content is left for the collector"
        );
    }

    #[tokio::test]
    async fn description_needs_an_existing_repository() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        assert!(metadata.set_description(&name("app"), "It's \"here\"; --".into()).await.unwrap());
        assert!(!metadata.set_description(&name("absent"), "no".into()).await.unwrap());
        let record = metadata.repository(&name("app")).await.unwrap().unwrap();
        assert_eq!(record.description, "It's \"here\"; --");
    }

    #[tokio::test]
    async fn usage_counts_cached_layers_while_linked() {
        let (metadata, _directory) = empty();
        let optional = |content: &str| Part { required: false, ..layer(content) };
        let mut image = manifest("hub/app", "image");
        image.parts = vec![optional("kept"), optional("never fetched")];
        put(&metadata, image.clone()).await;
        // Another repository has the layer, and this image lacks it.
        metadata.link_blob(&name("other"), &digest("never fetched"), 1_000).await.unwrap();
        let without = metadata.repository(&name("hub/app")).await.unwrap().unwrap().bytes;
        metadata.size_repositories(10).await.unwrap();

        metadata.link_blob(&name("hub/app"), &digest("kept"), 500).await.unwrap();
        let usage = metadata.usage(&Visible::Everything).await.unwrap();
        assert_eq!((usage.bytes, usage.unreferenced_bytes), (without + 500, 1_000));
        let usages = metadata.repository_usage(&Visible::Everything, None, 10).await.unwrap();
        assert_eq!((usages[0].bytes, usages[0].own_bytes), (without + 500, without + 500));
        let visible = Visible::only(["hub/**".parse().unwrap()]);
        assert_eq!(metadata.usage(&visible).await.unwrap().bytes, without + 500);
        let usages = metadata.repository_usage(&visible, None, 10).await.unwrap();
        assert_eq!((usages[0].bytes, usages[0].own_bytes), (without + 500, without + 500));
        assert_eq!(
            metadata.repository(&name("hub/app")).await.unwrap().unwrap().bytes,
            without + 500,
            "the counted size follows the link"
        );

        metadata.size_repositories(10).await.unwrap();
        metadata.unlink_blob(&name("hub/app"), &digest("kept")).await.unwrap();
        let usage = metadata.usage(&Visible::Everything).await.unwrap();
        assert_eq!((usage.bytes, usage.unreferenced_bytes), (without, 1_500));
        assert_eq!(metadata.repository(&name("hub/app")).await.unwrap().unwrap().bytes, without);
    }

    #[tokio::test]
    async fn usage_excludes_shared_content() {
        let (metadata, _directory) = empty();
        for (repository, own) in [("a", "only a"), ("b", "only b")] {
            metadata.link_blob(&name(repository), &digest("shared"), 1_000).await.unwrap();
            metadata.link_blob(&name(repository), &digest(own), 100).await.unwrap();
            metadata.link_blob(&name(repository), &digest("no image needs it"), 7).await.unwrap();
            let mut image = manifest(repository, &format!("image with {own}"));
            image.parts = vec![layer("shared"), layer(own)];
            put(&metadata, image).await;
        }
        let usage = metadata.usage(&Visible::Everything).await.unwrap();
        assert_eq!(usage, Usage { repositories: 2, blobs: 5, bytes: 1_220, unreferenced_bytes: 7 });
        let usages = metadata.repository_usage(&Visible::Everything, None, 10).await.unwrap();
        assert_eq!(usages.len(), 2);
        assert!(usages.iter().all(|usage| (usage.bytes, usage.own_bytes) == (1_110, 110)));
        for usage in &usages {
            let listed = metadata.repository(&usage.name).await.unwrap().unwrap();
            assert_eq!(listed.bytes, usage.bytes, "a list and the usage say the same");
        }
        assert_eq!(
            metadata.repository_usage(&Visible::Everything, Some("a"), 10).await.unwrap(),
            usages[1..]
        );
        assert_eq!(metadata.usage_of(&name("b")).await.unwrap().as_ref(), usages.get(1));
        assert_eq!(metadata.usage_of(&name("c")).await.unwrap(), None);
    }
}
