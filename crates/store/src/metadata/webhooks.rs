//! Webhooks of owners, and the queue of deliveries of all webhooks.

use std::time::SystemTime;

use accounts::{AccountName, Pattern};
use oci::RepositoryName;

use super::rows::outbox;
use super::sql::{Both, Row, Sql, params};
use super::writer::Durability;
use super::{Limit, Metadata, columns};
use crate::StoreError;

/// The consumer of the outbox that enqueues deliveries.
pub const WEBHOOKS: &str = "webhooks";
/// The number of deliveries that are kept for each webhook and state after they ended.
const KEPT: usize = 10_000;
/// The number of rows deleted in one transaction.
const DELETE_BATCH: usize = 512;

accounts::string_enum! {
    /// The state of a delivery.
    pub enum DeliveryState: "state" {
        /// It is not delivered yet.
        Pending = "pending",
        /// The receiver answered with success.
        Delivered = "delivered",
        /// All attempts failed. A replay makes it pending again.
        Parked = "parked",
    }
}

/// A webhook of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRecord {
    /// Never reused.
    pub id: i64,
    /// The URL of the receiver.
    pub url: String,
    /// The secret of the signatures.
    pub secret: String,
    /// The secret before, which also signs.
    pub previous_secret: Option<String>,
    /// The names of the events.
    pub events: Vec<String>,
    /// The repositories.
    pub patterns: Vec<Pattern>,
    /// The media types of manifests. Empty: all.
    pub media_types: Vec<String>,
    /// The name of the format.
    pub format: String,
    /// The account that made it.
    pub account: Option<String>,
    /// The time at which it was made.
    pub created_at: SystemTime,
}

/// A delivery to enqueue.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The id of the webhook.
    pub webhook: String,
    /// The repository, whose deliveries keep their order. `None` for events without a repository.
    pub repository: Option<RepositoryName>,
    /// The event as JSON.
    pub event: String,
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Ascends in the order of the events.
    pub id: i64,
    /// The id of the webhook.
    pub webhook: String,
    /// Empty for events without a repository.
    pub repository: String,
    /// The event as JSON.
    pub event: String,
    /// The state.
    pub state: DeliveryState,
    /// The number of attempts so far.
    pub attempts: u32,
    /// The time at which it was enqueued.
    pub created_at: SystemTime,
    /// The time of the last attempt.
    pub attempted_at: Option<SystemTime>,
    /// The HTTP status of the last attempt, if there was an answer.
    pub status: Option<u16>,
    /// The beginning of the last answer, or the error.
    pub answer: Option<String>,
}

/// The numbers of deliveries of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Not delivered yet.
    pub pending: u64,
    /// Delivered and still kept.
    pub delivered: u64,
    /// Failed.
    pub parked: u64,
}

macro_rules! delivery_columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, webhook, repository, event, state, attempts, created_at, attempted_at, status, answer
             FROM webhook_deliveries ",
            $rest
        )
    };
}

fn all(sql: Sql<'_>) -> Result<Vec<WebhookRecord>, StoreError> {
    sql.all(
        "SELECT id, url, secret, previous_secret, events, patterns, media_types, format, account, created_at
         FROM webhooks ORDER BY id",
        &[],
        |row| {
            Ok(WebhookRecord {
                id: row.get(0)?,
                url: row.get(1)?,
                secret: row.get(2)?,
                previous_secret: row.get(3)?,
                events: columns::json_list(row, 4)?,
                patterns: columns::patterns(row, 5)?.unwrap_or_default(),
                media_types: columns::json_list(row, 6)?,
                format: row.get(7)?,
                account: row.get(8)?,
                created_at: columns::time(row, 9)?,
            })
        },
    )
}

/// The webhooks for repositories of one namespace alone.
pub(super) fn of_namespace(sql: Sql<'_>, owner: &AccountName) -> Result<Vec<i64>, StoreError> {
    let is_below = |pattern: &Pattern| pattern.namespace() == Some(owner.as_str());
    let is_of = |hook: &WebhookRecord| !hook.patterns.is_empty() && hook.patterns.iter().all(is_below);
    Ok(all(sql)?.into_iter().filter(is_of).map(|hook| hook.id).collect())
}

/// Deletes the webhooks that an account made, and those for its namespace alone. The sender deletes their
/// deliveries.
pub(super) fn delete_of_account(sql: Sql<'_>, account: &AccountName) -> Result<(), StoreError> {
    for id in of_namespace(sql, account)? {
        sql.run("DELETE FROM webhooks WHERE id = ?1", params![id])?;
    }
    delete_made_by(sql, account.as_str())
}

/// Deletes the webhooks that an account made.
pub(super) fn delete_made_by(sql: Sql<'_>, account: &str) -> Result<(), StoreError> {
    sql.run("DELETE FROM webhooks WHERE account = ?1", params![account])?;
    Ok(())
}

impl Metadata {
    /// Returns the webhooks of owners, in the order of their creation.
    pub async fn webhooks(&self) -> Result<Vec<WebhookRecord>, StoreError> {
        self.read(all).await
    }

    /// Inserts a webhook, and registers the consumer of the outbox. Returns its id; that of `webhook` is
    /// ignored.
    ///
    /// # Errors
    /// [`StoreError::LimitReached`], if the account has so many webhooks.
    pub async fn add_webhook(&self, webhook: WebhookRecord, limit: Limit) -> Result<i64, StoreError> {
        self.changes().register(WEBHOOKS).await?;
        let id = self
            .write(Durability::Disk, move |sql| {
                let count = "SELECT COUNT(*) FROM webhooks WHERE COALESCE(account, '') = COALESCE(?1, '')";
                limit.check(sql, count, params![webhook.account])?;
                sql.first(
                    "INSERT INTO webhooks (url, secret, events, patterns, media_types, format, account, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id",
                    params![
                        webhook.url,
                        webhook.secret,
                        serde_json::json!(webhook.events).to_string(),
                        columns::patterns_in(Some(&webhook.patterns))?,
                        serde_json::json!(webhook.media_types).to_string(),
                        webhook.format,
                        webhook.account,
                        columns::now(),
                    ],
                    |row| row.get(0),
                )
            })
            .await?;
        id.ok_or_else(|| StoreError::Damaged("a webhook could not be inserted".to_owned()))
    }

    /// Replaces URL, secret, events, patterns, media types and format of a webhook. Returns `false` if it
    /// does not exist.
    pub async fn change_webhook(&self, webhook: WebhookRecord) -> Result<bool, StoreError> {
        self.write(Durability::Disk, move |sql| {
            let changed = sql.run(
                "UPDATE webhooks SET url = ?2, secret = ?3, previous_secret = ?4, events = ?5, patterns = ?6,
                                     media_types = ?7, format = ?8 WHERE id = ?1",
                params![
                    webhook.id,
                    webhook.url,
                    webhook.secret,
                    webhook.previous_secret,
                    serde_json::json!(webhook.events).to_string(),
                    columns::patterns_in(Some(&webhook.patterns))?,
                    serde_json::json!(webhook.media_types).to_string(),
                    webhook.format,
                ],
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// Deletes a webhook with its deliveries. Returns `false` if it does not exist.
    pub async fn remove_webhook(&self, id: i64) -> Result<bool, StoreError> {
        let removed = self.write(Durability::Disk, move |sql| {
            Ok(sql.run("DELETE FROM webhooks WHERE id = ?1", params![id])? > 0)
        });
        let removed = removed.await?;
        if removed {
            self.drop_deliveries(&id.to_string()).await?;
        }
        Ok(removed)
    }

    /// Deletes the deliveries of a webhook that is gone.
    pub async fn drop_deliveries(&self, webhook: &str) -> Result<(), StoreError> {
        loop {
            let webhook = webhook.to_owned();
            let deleted = self.write(Durability::Process, move |sql| {
                sql.run(
                    "DELETE FROM webhook_deliveries WHERE id IN (
                         SELECT id FROM webhook_deliveries WHERE webhook = ?1 LIMIT ?2)",
                    params![webhook, columns::limit_in(DELETE_BATCH)],
                )
            });
            if deleted.await? < DELETE_BATCH {
                return Ok(());
            }
        }
    }

    /// The webhooks that have deliveries.
    pub async fn webhooks_with_deliveries(&self) -> Result<Vec<String>, StoreError> {
        self.read(|sql| {
            sql.all("SELECT DISTINCT webhook FROM webhook_deliveries ORDER BY webhook", &[], |row| row.get(0))
        })
        .await
    }

    /// Enqueues the deliveries of the changes up to `up_to`, and acknowledges these changes in the same
    /// transaction. So a crash neither loses nor repeats a delivery.
    pub async fn enqueue_deliveries(
        &self,
        deliveries: Vec<NewDelivery>,
        up_to: i64,
    ) -> Result<(), StoreError> {
        self.write(Durability::Process, move |sql| {
            insert(sql, &deliveries)?;
            outbox::acknowledge(sql, WEBHOOKS, up_to)
        })
        .await?;
        self.changes().prune().await
    }

    /// Enqueues a delivery that no change has caused.
    pub async fn enqueue_delivery(&self, delivery: NewDelivery) -> Result<(), StoreError> {
        self.write(Durability::Disk, move |sql| insert(sql, std::slice::from_ref(&delivery))).await
    }

    /// Returns the first pending deliveries of a webhook, without those of some repositories.
    pub async fn pending_deliveries(
        &self,
        webhook: &str,
        except: &[String],
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let (webhook, except) = (webhook.to_owned(), serde_json::json!(except).to_string());
        self.read(move |sql| {
            let pending = Both {
                sqlite: delivery_columns!(
                    "WHERE webhook = ?1 AND state = 'pending'
                       AND repository NOT IN (SELECT value FROM json_each(?2)) ORDER BY id LIMIT ?3"
                ),
                postgres: delivery_columns!(
                    "WHERE webhook = ?1 AND state = 'pending'
                       AND repository NOT IN (SELECT value FROM json_array_elements_text(CAST(?2 AS JSON)))
                     ORDER BY id LIMIT ?3"
                ),
            };
            sql.all(sql.either(pending), params![webhook, except, columns::limit_in(limit)], delivery)
        })
        .await
    }

    /// Returns deliveries of a webhook before `before`, the latest first.
    pub async fn deliveries(
        &self,
        webhook: &str,
        state: Option<DeliveryState>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let webhook = webhook.to_owned();
        self.read(move |sql| {
            sql.all(
                delivery_columns!(
                    "WHERE webhook = ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR id < ?3)
                     ORDER BY id DESC LIMIT ?4"
                ),
                params![webhook, state.map(DeliveryState::as_str), before, columns::limit_in(limit)],
                delivery,
            )
        })
        .await
    }

    /// The numbers of deliveries of a webhook.
    pub async fn delivery_counts(&self, webhook: &str) -> Result<DeliveryCounts, StoreError> {
        let webhook = webhook.to_owned();
        self.read(move |sql| {
            let mut counts = DeliveryCounts::default();
            sql.each(
                "SELECT state, COUNT(*) FROM webhook_deliveries WHERE webhook = ?1 GROUP BY state",
                params![webhook],
                |row| {
                    let count = columns::count(row, 1)?;
                    match columns::text(row, 0)? {
                        DeliveryState::Pending => counts.pending = count,
                        DeliveryState::Delivered => counts.delivered = count,
                        DeliveryState::Parked => counts.parked = count,
                    }
                    Ok(())
                },
            )?;
            Ok(counts)
        })
        .await
    }

    /// Records an attempt to deliver.
    pub async fn record_attempt(
        &self,
        id: i64,
        state: DeliveryState,
        status: Option<u16>,
        answer: Option<String>,
    ) -> Result<(), StoreError> {
        self.write(Durability::Process, move |sql| {
            sql.run(
                "UPDATE webhook_deliveries
                 SET state = ?2, status = ?3, answer = ?4, attempts = attempts + 1, attempted_at = ?5 WHERE id = ?1",
                params![id, state.as_str(), status, answer, columns::now()],
            )?;
            Ok(())
        })
        .await
    }

    /// Makes deliveries of a webhook pending again: one, or all that are parked. Returns their number.
    pub async fn replay_deliveries(&self, webhook: &str, id: Option<i64>) -> Result<u64, StoreError> {
        let webhook = webhook.to_owned();
        self.write(Durability::Disk, move |sql| {
            let replayed = sql.run(
                "UPDATE webhook_deliveries SET state = 'pending', attempts = 0
                 WHERE webhook = ?1 AND (id = ?2 OR (?2 IS NULL AND state = 'parked'))",
                params![webhook, id],
            )?;
            Ok(replayed as u64)
        })
        .await
    }

    /// Deletes the oldest ended deliveries of a webhook, beyond the number that is kept.
    pub async fn prune_deliveries(&self, webhook: &str) -> Result<(), StoreError> {
        for state in [DeliveryState::Delivered, DeliveryState::Parked] {
            loop {
                let webhook = webhook.to_owned();
                let deleted = self.write(Durability::Process, move |sql| {
                    sql.run(
                        "DELETE FROM webhook_deliveries WHERE id IN (
                             SELECT id FROM webhook_deliveries WHERE webhook = ?1 AND state = ?2
                             ORDER BY id DESC LIMIT ?3 OFFSET ?4)",
                        params![
                            webhook,
                            state.as_str(),
                            columns::limit_in(DELETE_BATCH),
                            columns::limit_in(KEPT)
                        ],
                    )
                });
                if deleted.await? < DELETE_BATCH {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Acknowledges changes for a consumer that only keeps them for a time: those before `time`, and the
    /// oldest beyond `most`.
    pub async fn expire_changes(
        &self,
        consumer: &str,
        time: SystemTime,
        most: i64,
    ) -> Result<(), StoreError> {
        let newest = self.changes().newest();
        let old = self.read(move |sql| {
            sql.first(
                "SELECT id FROM changes WHERE at >= ?1 ORDER BY id LIMIT 1",
                params![columns::time_in(time)],
                |row| row.get::<i64>(0),
            )
        });
        let up_to = old.await?.map_or(newest, |first| first - 1).max(newest - most);
        if self.changes().cursor(consumer).await?.is_some_and(|cursor| cursor < up_to) {
            self.changes().acknowledge(consumer, up_to).await?;
        }
        Ok(())
    }
}

fn insert(sql: Sql<'_>, deliveries: &[NewDelivery]) -> Result<(), StoreError> {
    let now = columns::now();
    for NewDelivery { webhook, repository, event } in deliveries {
        sql.run(
            "INSERT INTO webhook_deliveries (webhook, repository, event, state, created_at)
             VALUES (?1, ?2, ?3, 'pending', ?4)",
            params![webhook, repository.as_ref().map_or("", RepositoryName::as_str), event, now],
        )?;
    }
    Ok(())
}

fn delivery(row: &Row<'_>) -> Result<DeliveryRecord, StoreError> {
    Ok(DeliveryRecord {
        id: row.get(0)?,
        webhook: row.get(1)?,
        repository: row.get(2)?,
        event: row.get(3)?,
        state: columns::text(row, 4)?,
        attempts: row.get(5)?,
        created_at: columns::time(row, 6)?,
        attempted_at: columns::time_or_null(row, 7)?,
        status: row.get(8)?,
        answer: row.get(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{empty, name, put, tagged};
    use super::*;

    fn new(repository: &str, event: &str) -> NewDelivery {
        NewDelivery { webhook: "w".into(), repository: Some(name(repository)), event: event.into() }
    }

    #[tokio::test]
    async fn delivery_is_pending_until_it_ends() {
        let (metadata, _directory) = empty();
        metadata.changes().register(WEBHOOKS).await.unwrap();
        put(&metadata, tagged("app", "m", &["a"])).await;
        let newest = metadata.changes().newest();
        let all = vec![new("a", "1"), new("b", "2"), new("a", "3")];
        metadata.enqueue_deliveries(all, newest).await.unwrap();
        assert_eq!(metadata.changes().cursor(WEBHOOKS).await.unwrap(), Some(newest));
        let events = |records: &[DeliveryRecord]| -> Vec<String> {
            records.iter().map(|record| record.event.clone()).collect()
        };
        let pending = metadata.pending_deliveries("w", &[], 9).await.unwrap();
        assert_eq!(events(&pending), ["1", "2", "3"]);
        let others = metadata.pending_deliveries("w", &["a".into()], 9).await.unwrap();
        assert_eq!(events(&others), ["2"]);

        let refused = Some("no".to_owned());
        metadata.record_attempt(pending[0].id, DeliveryState::Delivered, Some(204), None).await.unwrap();
        metadata.record_attempt(pending[1].id, DeliveryState::Parked, Some(500), refused).await.unwrap();
        let counts = metadata.delivery_counts("w").await.unwrap();
        assert_eq!(counts, DeliveryCounts { pending: 1, delivered: 1, parked: 1 });
        let parked = metadata.deliveries("w", Some(DeliveryState::Parked), None, 9).await.unwrap();
        assert_eq!((parked[0].attempts, parked[0].status), (1, Some(500)));
        assert_eq!(metadata.replay_deliveries("w", None).await.unwrap(), 1);
        assert_eq!(metadata.replay_deliveries("w", Some(pending[0].id)).await.unwrap(), 1);
        assert_eq!(metadata.pending_deliveries("w", &[], 9).await.unwrap().len(), 3);
        metadata.prune_deliveries("w").await.unwrap();
        metadata.drop_deliveries("w").await.unwrap();
        assert!(metadata.webhooks_with_deliveries().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn webhook_keeps_its_old_secret() {
        let (metadata, _directory) = empty();
        let webhook = WebhookRecord {
            id: 0,
            url: "https://example.com".into(),
            secret: "one".into(),
            previous_secret: None,
            events: vec!["push".into()],
            patterns: vec!["ann/*".parse().unwrap()],
            media_types: vec!["a/b".into()],
            format: "cloudevents".into(),
            account: Some("ann".into()),
            created_at: SystemTime::UNIX_EPOCH,
        };
        let id = metadata.add_webhook(webhook.clone(), Limit { what: "webhooks", most: 50 }).await.unwrap();
        let changed =
            WebhookRecord { id, secret: "two".into(), previous_secret: Some("one".into()), ..webhook };
        assert!(metadata.change_webhook(changed.clone()).await.unwrap());
        let stored = metadata.webhooks().await.unwrap().remove(0);
        assert_eq!(WebhookRecord { created_at: changed.created_at, ..stored }, changed);
        assert!(metadata.remove_webhook(id).await.unwrap());
        assert!(!metadata.remove_webhook(id).await.unwrap());
    }
}
