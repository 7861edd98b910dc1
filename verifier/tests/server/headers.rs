//! The headers of pages: what a browser may do with one, and that nothing is kept in it.

use reqwest::Method;

use super::badges::every_state;
use super::site::{record, sent};

const PAGE: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
/// With the script that follows a job.
const JOB: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[tokio::test]
async fn a_page_may_load_what_is_ours_and_nothing_else() {
    let server = every_state().await;
    let newest = record("3.14.1");
    server.store.append(&newest).await.unwrap();
    let job = server.store.job_of(&"3.14.0".parse().unwrap()).await.unwrap().unwrap();
    let (record, job) = (format!("/records/{}", newest.id), format!("/jobs/{}", job.id));
    for (path, status, policy) in [
        ("/", 200, PAGE),
        ("/queue", 200, PAGE),
        ("/about", 200, PAGE),
        ("/embed", 200, PAGE),
        ("/api", 200, PAGE),
        ("/releases/3.14.1", 200, PAGE),
        (&record, 200, PAGE),
        (&job, 200, JOB),
        ("/no-such-page", 404, PAGE),
    ] {
        let page = sent(server.request(Method::GET, path).header("accept", "text/html")).await;
        assert_eq!(page.status, status, "{path}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        let policies = page.headers.get_all("content-security-policy").iter();
        let policies: Vec<&str> = policies.map(|value| value.to_str().unwrap()).collect();
        assert_eq!(policies, [policy], "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert!(page.headers.get("set-cookie").is_none(), "{path}");
    }
}
