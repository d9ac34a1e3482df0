//! Repositories whose content is elsewhere: a gateway knows their names, so that lists and searches find them, and
//! nothing of what is in them.

use oci::RepositoryName;

use super::rows::repositories::{Indexed, describe, find, find_or_make};
use super::sql::params;
use super::writer::Durability;
use super::{Metadata, columns, search};
use crate::StoreError;

impl Metadata {
    /// Takes note of repositories that hold an image elsewhere, each with a description if it has a new one. Those
    /// that are known stay as they are.
    pub async fn learn_repositories(
        &self,
        repositories: Vec<(RepositoryName, Option<String>)>,
    ) -> Result<(), StoreError> {
        // What is lost in a crash is learnt again.
        self.write(Durability::Process, move |sql| {
            for (name, description) in &repositories {
                let id = find_or_make(sql, name)?;
                if let Some(found) = Indexed::read(sql, id)?
                    && found.manifests == 0
                {
                    // One stands for however many there are.
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

    /// The names of all repositories that hold an image, here or elsewhere, in the order of their bytes, from the one
    /// after `after`: for the gateway itself, whatever who may see.
    pub async fn known_repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |sql| {
            sql.all(
                "SELECT name FROM repositories WHERE manifests > 0 AND name > ?1 ORDER BY name LIMIT ?2",
                params![after, columns::limit_in(limit)],
                |row| columns::text(row, 0),
            )
        })
        .await
    }

    /// Forgets repositories that are not elsewhere any more. One that holds content here is left alone.
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
    async fn what_was_learnt_is_known_until_it_is_forgotten() {
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
    async fn what_is_here_is_not_forgotten() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        metadata.learn_repositories(vec![(name("app"), None)]).await.unwrap();
        metadata.forget_repositories(vec![name("app")]).await.unwrap();
        assert_eq!(known(&metadata).await, [name("app")]);
    }
}
