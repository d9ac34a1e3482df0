//! `/-/webhooks` and `/-/webhooks/<id>`: webhooks with their deliveries and the receivers' answers; tests,
//! replays and new secrets. Owners add and remove those of their repositories.

use std::str::FromStr;

use accounts::Pattern;
use api::{Delivery, NewWebhook, Webhook, WebhookTest};
use askama::Template;
use hyper::Method;
use oci::MediaType;
use registry::events::EventKind;
use registry::records::DeliveryState;

use super::form::Form;
use super::manage::Outcome;
use super::page::Page;
use crate::http::api::manage::webhooks;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::path_part::WebhookId;
use crate::http::response::Response;

/// The deliveries on a page.
const PAGE: usize = 50;
/// The events of repositories, which owners choose from.
const EVENTS: [EventKind; 7] = [
    EventKind::Push,
    EventKind::TagMoved,
    EventKind::TagDeleted,
    EventKind::ManifestDeleted,
    EventKind::ManifestRestored,
    EventKind::RepositoryDeleted,
    EventKind::Pull,
];
const FORMATS: [&str; 3] = ["cloudevents", "cloudevents-binary", "distribution"];
const STATES: [(&str, &str); 3] =
    [("pending", "delivery-pending"), ("delivered", "delivery-delivered"), ("parked", "delivery-parked")];

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    page: Page,
    outcome: Outcome,
    webhooks: Vec<Webhook>,
    /// The fields of the form, for another attempt.
    url: String,
    repositories: String,
    media_types: String,
    chosen: Vec<String>,
    format: String,
    events: Vec<&'static str>,
}

impl WebhooksPage {
    fn is_chosen(&self, event: &str) -> bool {
        self.chosen.iter().any(|chosen| chosen == event)
    }
}

/// Joins names for a cell of a table.
pub(crate) fn joined<T: ToString>(names: &[T]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) async fn list(mut call: Call<'_>) -> Result<Response, Error> {
    let mut outcome = Outcome::default();
    let mut filled = None;
    if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        outcome = add(&call, &form).await?;
        filled = Some(form).filter(|_| outcome.problem.is_some());
    }
    let text = |name: &str| filled.as_ref().map(|form| form.text(name)).unwrap_or_default();
    let repository = call.query().get_filled("repository").map(std::borrow::Cow::into_owned);
    let body = WebhooksPage {
        page: Page::of(&call),
        outcome,
        webhooks: webhooks::all(&call).await?,
        url: text("url"),
        repositories: if filled.is_some() { text("repositories") } else { repository.unwrap_or_default() },
        media_types: text("media_types"),
        chosen: filled.as_ref().map(|form| form.all("events")).unwrap_or_default(),
        format: text("format"),
        events: EVENTS.iter().map(|kind| kind.as_str()).collect(),
    };
    body.page.render_as(body.outcome.status(), &body)
}

/// Parses values that are separated by commas or spaces.
fn words<T: FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split([',', ' ', '\n', '\r']).filter(|text| !text.is_empty()).map(str::parse).collect()
}

async fn add(call: &Call<'_>, form: &Form) -> Result<Outcome, Error> {
    let page = Page::of(call);
    let Ok(repositories) = words::<Pattern>(&form.text("repositories")) else {
        return Ok(Outcome::problem(page.t("problem-pattern")));
    };
    let Ok(media_types) = words::<MediaType>(&form.text("media_types")) else {
        return Ok(Outcome::problem(page.t("problem-media-type")));
    };
    let new = NewWebhook {
        url: form.text("url"),
        secret: None,
        events: form.all("events"),
        repositories,
        media_types,
        format: form.get("format").map(std::borrow::Cow::into_owned),
    };
    let (made, outcome) = Outcome::of_api(&page, webhooks::make(call, new).await, "webhook-made")?;
    Ok(Outcome { secret: made.map(|made| made.secret.reveal().to_owned()), ..outcome })
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    page: Page,
    outcome: Outcome,
    webhook: Webhook,
    test: Option<WebhookTest>,
    deliveries: Vec<Delivery>,
    state: Option<DeliveryState>,
    /// The query of the next page.
    next: Option<String>,
}

impl WebhookPage {
    fn address(&self) -> String {
        format!("/-/webhooks/{}", self.webhook.id)
    }

    fn is_state(&self, state: &str) -> bool {
        self.state.is_some_and(|shown| shown.as_str() == state)
    }
}

pub(crate) async fn answer(mut call: Call<'_>, id: &WebhookId) -> Result<Response, Error> {
    let (mut outcome, mut test) = (Outcome::default(), None);
    if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        let page = Page::of(&call);
        match &*form.text("action") {
            "test" => test = Some(webhooks::send_test(&call, id).await?),
            "replay" => {
                let delivery = form.get("delivery").and_then(|number| number.parse::<i64>().ok());
                let replayed = webhooks::send_again(&call, id, delivery).await?;
                outcome =
                    Outcome { done: Some(page.counted("webhook-replayed", replayed)), ..Outcome::default() };
            }
            "secret" => {
                let changed = webhooks::replace_secret(&call, id, None).await;
                let (made, shown) = Outcome::of_api(&page, changed, "webhook-secret-made")?;
                outcome = Outcome { secret: made.map(|made| made.secret.reveal().to_owned()), ..shown };
            }
            "remove" if form.text("confirmation") != id.as_str() => {
                outcome = Outcome::problem(page.t("delete-mismatch"));
            }
            "remove" => {
                webhooks::delete(&call, id).await?;
                return Ok(page.redirect("/-/webhooks?done=webhook-removed"));
            }
            _ => return Err(Error::NoForm),
        }
    }
    let query = call.query();
    let state = query.parsed::<DeliveryState>("state", "pending, delivered or parked")?;
    let before = query.parsed::<i64>("before", "the number of a delivery")?;
    let mut deliveries = webhooks::read_deliveries(&call, id, state, before, PAGE + 1).await?;
    let more = deliveries.len() > PAGE;
    deliveries.truncate(PAGE);
    let next = deliveries.last().filter(|_| more).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(state.map(|state| ("state", state.as_str())));
        query.append_pair("before", &last.id.to_string()).finish()
    });
    let body = WebhookPage {
        page: Page::of(&call),
        outcome,
        webhook: webhooks::one(&call, id).await?,
        test,
        deliveries,
        state,
        next,
    };
    body.page.render_as(body.outcome.status(), &body)
}
