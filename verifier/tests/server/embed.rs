//! What to paste for a badge, and the reference of the API: true of what is served.

use verifier::server::Settings;

use super::badges::every_state;
use super::site::Server;

/// Everything between `from` and `to`, again and again.
fn all<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).filter_map(|rest| Some(rest.split_once(to)?.0)).collect()
}

#[tokio::test]
async fn what_is_pasted_shows_a_badge() {
    let server = every_state().await;
    let page = server.get("/embed").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let images = all(&page.text, "<img src=\"", "\"");
    assert!(images.contains(&"/badge/cpython/latest.svg"), "{images:?}");
    assert!(images.contains(&"/badge/cpython/3.11.svg"), "{images:?}");
    for image in &images {
        assert_eq!(server.get(image).await.header("content-type"), "image/svg+xml", "{image}");
    }
    let pasted = all(&page.text, "<pre class=\"copy\"", "</pre>");
    let three_lines =
        "latest.svg\n   :alt: reproducibility of the newest CPython\n   :target: http";
    assert!(page.text.contains(three_lines), "{}", page.text);
    // What is pasted outlives every verdict.
    let ours = all(&page.text, "alt=\"", "\"").len();
    let shown = page.text.replace("&#34;", "\"");
    let named = all(&shown, "alt=\"", "\"");
    assert!(named.len() > ours && named.iter().all(|alt| alt.starts_with("reproducibility of ")));
    assert_eq!(pasted.len(), 4 * images.len(), "Markdown, reST, HTML and shields of each");
    let base = "http://127.0.0.1:8470";
    for part in pasted {
        let text = part.split_once('>').unwrap().1;
        let text = text.replace("&#34;", "\"").replace("&#60;", "<").replace("&#62;", ">");
        if text.starts_with("https://img.shields.io/endpoint?url=http%3A%2F%2F127.0.0.1") {
            continue;
        }
        let named: Vec<&str> = text.split(base).skip(1).collect();
        assert_eq!(named.len(), 2, "a badge and where it leads: {text}");
        for rest in named {
            let end = rest.find(|c: char| ")\"\n]".contains(c)).unwrap_or(rest.len());
            assert_eq!(server.get(&rest[..end]).await.status, 200, "{text}");
        }
    }
}

#[tokio::test]
async fn without_a_release_there_is_nothing_to_paste_and_below_a_path_links_have_it() {
    let public_url = "https://example.org/verbatim".parse().unwrap();
    let server = Server::with(Settings { public_url, ..Settings::default() }).await;
    let empty = server.get("/embed").await.text;
    assert!(empty.contains("No release is known yet") && !empty.contains("<img"));
    server.announce(&["3.13.5"]).await;
    let page = server.get("/embed").await.text;
    assert!(page.contains("<img src=\"/verbatim/badge/cpython/latest.svg\""));
    assert!(page.contains("](https://example.org/verbatim/badge/cpython/latest.svg)]"));
}

#[tokio::test]
async fn the_reference_has_every_request_and_every_document_and_loads_nothing() {
    let server = Server::start().await;
    let page = server.get("/api").await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(!page.text.contains("<script") && !page.text.contains("src=\"http"));
    let described = server.get("/api/openapi.json").await.json();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let title = format!("<code>{} {path}</code></h3>", method.to_uppercase());
            assert!(page.text.contains(&title), "{title}");
            for status in operation["responses"].as_object().unwrap().keys() {
                assert!(page.text.contains(&format!("<th scope=\"row\">{status}</th>")));
            }
        }
    }
    for name in described["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.text.contains(&format!("<h3 id=\"{name}\">")), "{name}");
    }
    // Every link within the page leads somewhere, and no two places have one name.
    let mut ids = all(&page.text, " id=\"", "\"");
    for target in all(&page.text, "href=\"#", "\"") {
        assert!(ids.contains(&target), "{target}");
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
