//! The pages.

use reqwest::Method;

use super::callers::{CALLERS, Caller, Fixture, Need, READ, State, may};
use crate::harness::{Answer, Ask as _, By as _, Who};

/// Pages without a repository that answer every caller.
pub(super) const OPEN_PAGES: [(&str, &[Method]); 4] = [
    ("/-/assets/{asset}", &READ),
    ("/-/sign-in", &READ),
    ("/-/api", &READ),
    // Only with a self-signed certificate.
    ("/-/certificate", &READ),
];

/// Forms that need no account.
pub(super) const OPEN_FORMS: [(&str, &[Method]); 3] =
    [("/-/sign-in", &POST), ("/-/sign-out", &POST), ("/-/language", &POST)];

/// Pages of the caller's own account.
pub(super) const OWN_PAGES: [(&str, &[Method]); 4] =
    [("/-/account", &PAGE), ("/-/organisations", &PAGE), ("/-/grants", &PAGE), ("/-/webhooks", &PAGE)];

/// Pages of administrators.
pub(super) const ADMIN_PAGES: [(&str, &[Method]); 8] = [
    ("/-/admin/jobs", &PAGE),
    ("/-/admin/upstreams", &PAGE),
    ("/-/admin/rules", &PAGE),
    ("/-/admin", &READ),
    ("/-/admin/accounts", &PAGE),
    ("/-/admin/accounts/{user}", &PAGE),
    ("/-/admin/audit", &READ),
    ("/-/admin/usage", &READ),
];

/// Pages that answer by the object that they name.
pub(super) const OTHER_PAGES: [(&str, &[Method]); 3] =
    [("/-/access", &READ), ("/-/organisations/{organisation}", &PAGE), ("/-/webhooks/{webhook}", &PAGE)];

const POST: [Method; 1] = [Method::POST];
const PAGE: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

/// A page of a repository: method, path, address, required right, statuses (present, absent).
pub(super) type PageRow = (Method, &'static str, &'static str, Need, (u16, u16));

/// Every page of a repository.
pub(super) static PAGES: [PageRow; 26] = [
    (Method::GET, "/-/history/{repository}", "/-/history/{repository}", Need::Pull, (200, 404)),
    (Method::HEAD, "/-/history/{repository}", "/-/history/{repository}", Need::Pull, (200, 404)),
    // The tag has no such change.
    (
        Method::POST,
        "/-/history/{repository}",
        "/-/history/{repository}?tag=9&digest={layer}",
        Need::Push,
        (404, 404),
    ),
    (Method::GET, "/-/trash/{repository}", "/-/trash/{repository}", Need::Push, (200, 200)),
    (Method::HEAD, "/-/trash/{repository}", "/-/trash/{repository}", Need::Push, (200, 200)),
    (Method::POST, "/-/trash/{repository}", "/-/trash/{repository}?digest={layer}", Need::Push, (404, 404)),
    (Method::GET, "/{repository}", "/{repository}", Need::Pull, (200, 404)),
    (Method::HEAD, "/{repository}", "/{repository}", Need::Pull, (200, 404)),
    (Method::GET, "/{repository}:{reference}", "/{repository}:1", Need::Pull, (200, 404)),
    (Method::HEAD, "/{repository}:{reference}", "/{repository}:1", Need::Pull, (200, 404)),
    (Method::GET, "/{repository}:{reference}", "/{repository}@{manifest}", Need::Pull, (200, 404)),
    (Method::GET, "/-/file/{repository}@{digest}", "/-/file/{repository}@{layer}", Need::Pull, (200, 404)),
    (Method::HEAD, "/-/file/{repository}@{digest}", "/-/file/{repository}@{layer}", Need::Pull, (200, 404)),
    (Method::GET, "/-/compare/{repository}", "/-/compare/{repository}?from=1&to=1", Need::Pull, (200, 404)),
    (Method::HEAD, "/-/compare/{repository}", "/-/compare/{repository}", Need::Pull, (200, 404)),
    (Method::GET, "/-/delete/{repository}:{reference}", "/-/delete/{repository}:1", Need::Delete, (200, 404)),
    (
        Method::HEAD,
        "/-/delete/{repository}:{reference}",
        "/-/delete/{repository}:1",
        Need::Delete,
        (200, 404),
    ),
    (
        Method::POST,
        "/-/retag/{repository}:{reference}",
        "/-/retag/{repository}:1?tag=3",
        Need::Push,
        (303, 404),
    ),
    (
        Method::POST,
        "/-/delete/{repository}:{reference}",
        "/-/delete/{repository}:1?confirmation=1",
        Need::Delete,
        (303, 404),
    ),
    (
        Method::POST,
        "/-/delete/{repository}:{reference}",
        "/-/delete/{repository}@{manifest}?confirmation={hex}",
        Need::Delete,
        (303, 404),
    ),
    (
        Method::GET,
        "/-/delete-tags/{repository}",
        "/-/delete-tags/{repository}?tag=1",
        Need::Delete,
        (200, 404),
    ),
    (Method::HEAD, "/-/delete-tags/{repository}", "/-/delete-tags/{repository}", Need::Delete, (200, 404)),
    (
        Method::POST,
        "/-/delete-tags/{repository}",
        "/-/delete-tags/{repository}?confirmation={repository}&tag=1",
        Need::Delete,
        (200, 404),
    ),
    (Method::GET, "/-/delete/{repository}", "/-/delete/{repository}", Need::Delete, (200, 404)),
    (Method::HEAD, "/-/delete/{repository}", "/-/delete/{repository}", Need::Delete, (200, 404)),
    (
        Method::POST,
        "/-/delete/{repository}",
        "/-/delete/{repository}?confirmation={repository}",
        Need::Delete,
        (303, 404),
    ),
];

impl Fixture {
    /// Requests a page. A form is sent with its token, and the query of the address as its fields.
    async fn open_page(&self, method: &Method, address: &str, who: &Who) -> Answer {
        const SEED: &str = "a-seed-of-thirty-two-characters-";
        let token = crate::web::form_token(SEED);
        let (path, fields) = match address.split_once('?') {
            Some((path, fields)) if *method == Method::POST => (path, fields),
            _ => (address, ""),
        };
        let request = self.registry.request(method.clone(), path).header("accept", "text/html");
        let request = request.header("cookie", format!("wharfinger-form={SEED}"));
        let request = if *method == Method::POST {
            let form = format!("form_token={token}&{fields}");
            request.header("content-type", "application/x-www-form-urlencoded").body(form)
        } else {
            request
        };
        request.by(who).ask().await
    }
}

/// Pages need the rights that the API needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_gets_the_expected_status() {
    let fixture = Fixture::new().await;
    let mut wrong = Vec::new();
    for (method, _, address, requires, (present, absent)) in &PAGES {
        for state in State::ALL {
            for caller in CALLERS {
                let image = fixture.restore(state).await;
                let address = address
                    .replace("{repository}", state.repository())
                    .replace("{manifest}", &image.digest.to_string())
                    .replace("{hex}", &image.digest.hex()[..12])
                    .replace("{layer}", &image.blobs[1].0.to_string());
                let answer = fixture.open_page(method, &address, &fixture.who(caller)).await;
                let signs_in = answer.status == 303
                    && answer.header("location").is_some_and(|to| to.starts_with("/-/sign-in?to="));
                let is_expected = match caller {
                    Caller::ForeignBearer => answer.status == 401,
                    Caller::ExpiredToken => signs_in,
                    _ if may(caller, *requires, state) => {
                        !signs_in && answer.status == if state == State::Absent { *absent } else { *present }
                    }
                    Caller::Anonymous | Caller::NarrowBearer => signs_in,
                    _ if may(caller, Need::Pull, state) || *requires == Need::Push => answer.status == 403,
                    _ => answer.status == 404,
                };
                if !is_expected {
                    wrong.push(format!("{caller:?} {method} {address}: {} {}", answer.status, answer.text()));
                }
                if !may(caller, *requires, state) && state != State::Absent {
                    fixture.is_untouched(state, &image).await;
                    assert!(!answer.text().contains(&image.blobs[0].0.to_string()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn global_pages_answer_callers_as_expected() {
    let fixture = Fixture::new().await;
    for caller in CALLERS {
        let who = fixture.who(caller);
        let is_wrong = matches!(caller, Caller::ExpiredToken | Caller::ForeignBearer);
        let is_narrow = matches!(caller, Caller::NarrowToken | Caller::NarrowBearer);
        let walk = |pages: &'static [(&str, &[Method])]| {
            let each = |(path, methods): &(&'static str, &'static [Method])| {
                let (path, methods) = (*path, *methods);
                methods.iter().filter(|method| **method != Method::POST).map(move |method| (path, method))
            };
            pages.iter().flat_map(each).collect::<Vec<_>>()
        };
        for (path, method) in walk(&OPEN_PAGES) {
            let answer = fixture.open_page(method, &path.replace("{asset}", "none.css"), &who).await;
            let is_there = !path.contains("{asset}") && path != "/-/certificate";
            let is_expected = if is_wrong {
                [303, 401].contains(&answer.status)
            } else {
                (answer.status == 200) == is_there
            };
            assert!(is_expected, "{caller:?} {method} {path}: {}", answer.status);
        }
        for (path, method) in walk(&OWN_PAGES) {
            let answer = fixture.open_page(method, path, &who).await;
            let expected: &[u16] = match caller {
                _ if is_wrong => &[303, 401],
                Caller::Anonymous => &[303],
                _ if is_narrow => &[403],
                // A robot has no page.
                Caller::Robot => &[200, 403, 404],
                _ => &[200],
            };
            assert!(expected.contains(&answer.status), "{caller:?} {method} {path}: {}", answer.status);
        }
        for (path, method) in walk(&ADMIN_PAGES) {
            let answer = fixture.open_page(method, &path.replace("{user}", "ann"), &who).await;
            let expected: &[u16] = match caller {
                _ if is_wrong => &[303, 401],
                Caller::Anonymous => &[303],
                Caller::Administrator => &[200],
                _ => &[403],
            };
            assert!(expected.contains(&answer.status), "{caller:?} {method} {path}: {}", answer.status);
        }
        // A stranger finds neither the rights of others nor an organisation.
        if caller == Caller::Stranger {
            let access =
                fixture.open_page(&Method::GET, "/-/access?account=ann&repository=ann/private", &who);
            assert_eq!(access.await.status, 403);
            assert_eq!(fixture.open_page(&Method::GET, "/-/organisations/acme", &who).await.status, 404);
        }
    }
}
