//! The formats of deliveries: CloudEvents 1.0 and the notification envelope of distribution.

use registry::events::{Event, EventKind};
use registry::webhooks::WebhookFormat;
use serde_json::{Map, Value, json};

use crate::rfc3339;

#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The URL of the registry, or a URN of its database.
    pub(crate) source: String,
    /// The URL of the registry, if it is known.
    pub(crate) base: Option<String>,
    /// The id of the database.
    pub(crate) instance: String,
}

/// A request body with its headers.
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn of(event: &Event, format: WebhookFormat, origin: &Origin) -> Self {
        let id = id(event, origin);
        let (content_type, headers, body) = match format {
            WebhookFormat::CloudEvents => {
                let mut document = Map::new();
                for (name, value) in attributes(&id, event, origin) {
                    document.insert(name.to_owned(), value.into());
                }
                document.insert("datacontenttype".to_owned(), "application/json".into());
                document.insert("data".to_owned(), data(event));
                ("application/cloudevents+json", Vec::new(), Value::Object(document))
            }
            WebhookFormat::CloudEventsBinary => {
                let header = |(name, value): (&'static str, String)| (header_name(name), value);
                let headers = attributes(&id, event, origin).into_iter().map(header).collect();
                ("application/json", headers, data(event))
            }
            WebhookFormat::Distribution => (
                "application/vnd.docker.distribution.events.v2+json",
                Vec::new(),
                json!({ "events": notifications(&id, event, origin) }),
            ),
        };
        Self { id, content_type, headers, body: body.to_string().into_bytes() }
    }
}

/// The id of an event, unique among registries.
fn id(event: &Event, origin: &Origin) -> String {
    match event.kind {
        EventKind::Test => format!("test-{}-{}", origin.instance, event.at),
        _ => format!("{}-{}", origin.instance, event.id),
    }
}

fn header_name(attribute: &str) -> &'static str {
    match attribute {
        "specversion" => "ce-specversion",
        "id" => "ce-id",
        "source" => "ce-source",
        "type" => "ce-type",
        "subject" => "ce-subject",
        _ => "ce-time",
    }
}

/// The context attributes of CloudEvents.
fn attributes(id: &str, event: &Event, origin: &Origin) -> Vec<(&'static str, String)> {
    let mut attributes = vec![
        ("specversion", "1.0".to_owned()),
        ("id", id.to_owned()),
        ("source", origin.source.clone()),
        ("type", format!("wharfinger.{}", event.kind)),
        ("time", rfc3339::milliseconds(event.time())),
    ];
    if let Some(repository) = &event.repository {
        let subject = match (&event.tag, &event.digest) {
            (Some(tag), _) => format!("{repository}:{tag}"),
            (None, Some(digest)) => format!("{repository}@{digest}"),
            (None, None) => repository.to_string(),
        };
        attributes.push(("subject", subject));
    }
    attributes
}

/// Returns the data of an event.
pub(crate) fn data(event: &Event) -> Value {
    let mut data = match &event.detail {
        Some(Value::Object(detail)) => detail.clone(),
        _ => Map::new(),
    };
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            data.insert(name.to_owned(), value.into());
        }
    };
    set("repository", event.repository.as_ref().map(ToString::to_string));
    set("tag", event.tag.as_ref().map(ToString::to_string));
    set("digest", event.digest.as_ref().map(ToString::to_string));
    set("previous", event.previous.as_ref().map(ToString::to_string));
    set("account", event.account.clone());
    set("requestId", event.request_id.clone());
    set("address", event.address.map(|address| address.to_string()));
    Value::Object(data)
}

/// The notifications of distribution: one for each tag of a push.
fn notifications(id: &str, event: &Event, origin: &Origin) -> Vec<Value> {
    let (action, method) = match event.kind {
        EventKind::Pull => ("pull", "GET"),
        EventKind::Push | EventKind::BlobPushed | EventKind::Test => ("push", "PUT"),
        _ => ("delete", "DELETE"),
    };
    let tags: Vec<Option<String>> = match event.kind {
        EventKind::Push | EventKind::Pull if event.tags().next().is_some() => {
            event.tags().map(|tag| Some(tag.to_owned())).collect()
        }
        _ => vec![event.tag.as_ref().map(ToString::to_string)],
    };
    let count = tags.len();
    let one = |(index, tag): (usize, Option<String>)| {
        let id = if count > 1 { format!("{id}.{index}") } else { id.to_owned() };
        json!({
            "id": id,
            "timestamp": rfc3339::milliseconds(event.time()),
            "action": action,
            "target": target(event, tag, origin),
            "request": {
                "id": event.request_id.clone().unwrap_or_default(),
                "addr": event.address.map(|address| address.to_string()).unwrap_or_default(),
                "host": origin.base.as_deref().and_then(|base| base.split("://").nth(1)).unwrap_or_default(),
                "method": method,
                // Not kept with a change.
                "useragent": "",
            },
            "actor": { "name": event.account.clone().unwrap_or_default() },
            "source": { "addr": origin.base.clone().unwrap_or_default(), "instanceID": origin.instance },
        })
    };
    tags.into_iter().enumerate().map(one).collect()
}

fn target(event: &Event, tag: Option<String>, origin: &Origin) -> Value {
    let is_blob = matches!(event.kind, EventKind::BlobPushed | EventKind::BlobDeleted);
    let mut target = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            target.insert(name.to_owned(), value);
        }
    };
    let media_type = if is_blob { Some("application/octet-stream") } else { event.media_type() };
    set("mediaType", media_type.map(Value::from));
    set("size", event.size().map(Value::from));
    set("length", event.size().map(Value::from));
    set("digest", event.digest.map(|digest| digest.to_string().into()));
    set("repository", event.repository.as_ref().map(|name| name.to_string().into()));
    set("tag", tag.map(Value::from));
    if let (Some(base), Some(repository), Some(digest)) = (&origin.base, &event.repository, event.digest) {
        let kind = if is_blob { "blobs" } else { "manifests" };
        set("url", Some(format!("{base}/v2/{repository}/{kind}/{digest}").into()));
    }
    Value::Object(target)
}

#[cfg(test)]
mod tests {
    use super::super::signature::sign;
    use super::*;

    fn event() -> Event {
        Event {
            id: 7,
            kind: EventKind::Push,
            at: 1_700_000_000_123,
            repository: Some("team/app".parse().unwrap()),
            digest: Some(oci::Algorithm::Sha256.digest(b"manifest")),
            detail: Some(json!({ "mediaType": "a/b", "size": 8, "tags": ["1", "latest"] })),
            account: Some("ann".into()),
            ..Event::test(accounts::Actor::default())
        }
    }

    fn origin() -> Origin {
        let base = Some("https://registry.example.com".to_owned());
        Origin { source: base.clone().unwrap(), base, instance: "db".into() }
    }

    /// The headings of the formats, and the event of docs/reference/events.md in each.
    const PAGE: &str = include_str!("../../docs/reference/events.md");

    fn documented(format: WebhookFormat) -> Message {
        let event = Event {
            id: 4711,
            repository: Some("ann/app".parse().unwrap()),
            detail: Some(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1024, "tags": ["1.4"],
            })),
            request_id: Some("9c2f1b7d40e58a63".into()),
            address: Some([192, 0, 2, 7].into()),
            ..event()
        };
        Message::of(
            &event,
            format,
            &Origin { instance: "3f6c1f0e9d2b4a7c8e5d0a1b2c3d4e5f".into(), ..origin() },
        )
    }

    #[test]
    fn events_page_lists_all_kinds() {
        let (_, kinds) = PAGE.split_once("## Kinds\n").unwrap();
        let rows = kinds.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
        let named: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        let all: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(named, all);
    }

    #[test]
    fn events_page_has_the_requests_of_an_event() {
        for (name, format) in [
            ("cloudevents", WebhookFormat::CloudEvents),
            ("cloudevents-binary", WebhookFormat::CloudEventsBinary),
            ("distribution", WebhookFormat::Distribution),
        ] {
            let (_, section) = PAGE.split_once(&format!("### `{name}`\n")).unwrap();
            let block = |language: &str| {
                let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
                block.split("```").next().unwrap()
            };
            let message = documented(format);
            let shown: Value = serde_json::from_str(block("json")).unwrap();
            assert_eq!(shown, json_of(&message), "{name}");
            let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
            let signature = sign(&[secret], &message.id, 1_700_000_001, &message.body).unwrap();
            let mut headers = vec![
                format!("content-type: {}", message.content_type),
                format!("webhook-id: {}", message.id),
                "webhook-timestamp: 1700000001".to_owned(),
                format!("webhook-signature: {signature}"),
            ];
            headers.extend(message.headers.iter().map(|(name, value)| format!("{name}: {value}")));
            assert_eq!(block("http").lines().collect::<Vec<_>>(), headers, "{name}");
        }
    }

    fn json_of(message: &Message) -> Value {
        serde_json::from_slice(&message.body).unwrap()
    }

    #[test]
    fn cloud_event_has_the_required_attributes() {
        let structured = Message::of(&event(), WebhookFormat::CloudEvents, &origin());
        let document = json_of(&structured);
        assert_eq!(document["specversion"], "1.0");
        assert_eq!(document["id"], "db-7");
        assert_eq!(document["source"], "https://registry.example.com");
        assert_eq!(document["type"], "wharfinger.push");
        assert_eq!(document["time"], "2023-11-14T22:13:20.123Z");
        assert_eq!(document["data"]["tags"], json!(["1", "latest"]));
        let binary = Message::of(&event(), WebhookFormat::CloudEventsBinary, &origin());
        assert_eq!(json_of(&binary), document["data"]);
        assert!(binary.headers.contains(&("ce-id", "db-7".to_owned())));
    }

    #[test]
    fn distribution_gets_a_notification_for_each_tag() {
        let message = Message::of(&event(), WebhookFormat::Distribution, &origin());
        let document = json_of(&message);
        let events = document["events"].as_array().unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[1]["id"], "db-7.1");
        assert_eq!((&events[1]["action"], &events[1]["target"]["tag"]), (&json!("push"), &json!("latest")));
        assert_eq!(events[0]["actor"]["name"], "ann");
        let url = events[0]["target"]["url"].as_str().unwrap();
        assert!(url.starts_with("https://registry.example.com/v2/team/app/manifests/sha256:"), "{url}");
    }
}
