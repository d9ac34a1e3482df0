//! Remote repositories: a gateway stores the names of repositories of its upstreams for lists and searches.

use oci::RepositoryName;

use super::rows::repositories::{Indexed, describe, find, find_or_create};
use super::sql::params;
use super::writer::Durability;
use super::{Metadata, search};
use crate::StoreError;

impl Metadata {
    /// Inserts remote repositories with an image, each with its new description if it has one. Known
    /// repositories stay.
    pub async fn learn_repositories(
        &self,
        repositories: Vec<(RepositoryName, Option<String>)>,
    ) -> Result<(), StoreError> {
        // The next synchronisation repeats changes lost in a crash.
        self.write(Durability::Process, move |sql| {
            for (name, description) in &repositories {
                let id = find_or_create(sql, name)?;
                if let Some(found) = Indexed::read(sql, id)?
                    && found.manifests == 0
                {
                    // The number of remote manifests is unknown; 1 makes the repository listed.
                    sql.run("UPDATE repositories SET manifests = 1 WHERE id = ?1", params![id])?;
                    search::add(sql, id, &found.name, &found.description)?;
                }
                if let Some(description) = description {
                    describe(sql, id, description)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Returns the names of all repositories with an image, local or remote, in the order of their bytes,
    /// after `after`, regardless of visibility.
    pub async fn known_repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let query = "SELECT name FROM repositories WHERE manifests > 0 AND name > ?1 ORDER BY name LIMIT ?2";
        self.repository_names(query, after, limit).await
    }

    /// Deletes remote repositories that their upstream no longer has. Repositories with local content stay.
    pub async fn forget_repositories(&self, repositories: Vec<RepositoryName>) -> Result<(), StoreError> {
        self.write(Durability::Process, move |sql| {
            for name in &repositories {
                let Some(id) = find(sql, name)? else { continue };
                let is_here = sql.exists(
                    "SELECT 1 FROM manifests WHERE repository = ?1
                     UNION ALL SELECT 1 FROM blob_links WHERE repository = ?1 LIMIT 1",
                    params![id],
                )?;
                if is_here {
                    continue;
                }
                if let Some(found) = Indexed::read(sql, id)?
                    && found.manifests > 0
                {
                    search::remove(sql, id, &found.name, &found.description)?;
                }
                sql.run("DELETE FROM repositories WHERE id = ?1", params![id])?;
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{empty, manifest, name, put};
    use super::*;

    async fn known(metadata: &Metadata) -> Vec<RepositoryName> {
        metadata.known_repositories(None, 10).await.unwrap()
    }

    #[tokio::test]
    async fn remote_repository_is_known_until_forgotten() {
        let (metadata, _directory) = empty();
        let names = ["app", "team/app"].map(name);
        for _ in 0..2 {
            let learnt = names.iter().map(|name| (name.clone(), None)).collect();
            metadata.learn_repositories(learnt).await.unwrap();
        }
        assert_eq!(known(&metadata).await, names);
        assert_eq!(metadata.known_repositories(Some("app"), 10).await.unwrap(), [name("team/app")]);
        let about = Some("a small system".to_owned());
        metadata.learn_repositories(vec![(name("app"), about)]).await.unwrap();
        metadata.learn_repositories(vec![(name("app"), None)]).await.unwrap();
        let record = metadata.repository(&name("app")).await.unwrap().unwrap();
        assert_eq!(record.description, "a small system");

        metadata.forget_repositories(vec![name("app"), name("never/known")]).await.unwrap();
        assert_eq!(known(&metadata).await, [name("team/app")]);
        assert_eq!(metadata.repository(&name("app")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn local_repository_is_not_forgotten() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        metadata.learn_repositories(vec![(name("app"), None)]).await.unwrap();
        metadata.forget_repositories(vec![name("app")]).await.unwrap();
        assert_eq!(known(&metadata).await, [name("app")]);
    }
}
