//! Headers that the upstream of a gateway receives.

use reqwest::Method;

use crate::harness::{Ask, By, Says, Upstream, Who, gateway, header};

/// The client's address is in X-Real-IP and X-Forwarded-For, the gateway's address and port in
/// X-Forwarded-By, and Host is the client's. Forged headers and credentials are not forwarded.
#[tokio::test]
async fn upstream_gets_addresses_and_no_credentials() {
    let upstream = Upstream::start(|_| Says::ok("", r#"{"name":"ann/app","tags":[]}"#)).await;
    // A gateway that listens on all addresses names the one that the client called.
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let gateway = gateway(&[&upstream.url()], &[("LISTEN", listen)]).await;
        let reached = format!("127.0.0.1:{}", gateway.address().port());
        let request = gateway
            .request(Method::GET, format_args!("http://{reached}/v2/ann/app/tags/list"))
            .by(&Who::root())
            .header("accept-encoding", "gzip")
            .header("cookie", "session=secret")
            .header("x-docker-token", "secret")
            .header("x-real-ip", "10.0.0.1")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-forwarded-by", "10.0.0.2:80")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "evil.example.com");
        request.ask().await.is(200);
        let head = upstream.asked("/v2/ann/app/tags/list").pop().expect("it was asked");
        for (name, value) in [
            ("host", Some(reached.as_str())),
            ("x-real-ip", Some("127.0.0.1")),
            ("x-forwarded-for", Some("127.0.0.1")),
            ("x-forwarded-by", Some(reached.as_str())),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-host", None),
            ("authorization", None),
            ("accept-encoding", None),
            ("cookie", None),
            ("x-docker-token", None),
        ] {
            assert_eq!(header(&head, name), value, "{name} in {head}");
        }
    }
}
