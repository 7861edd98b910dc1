//! The routes, and the OpenAPI document that is made from them.

use std::sync::Arc;

use axum::Json;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, RefOr, ResponseBuilder};
use utoipa::{OpenApi as _, PartialSchema, ToSchema, openapi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{self, Problem};
use super::{App, events, health, lists, reports, requests, singles};

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Verbatim",
    description = "Rebuilds CPython source releases from their tags and compares them with the \
                   published files byte for byte."
))]
struct Document;

/// Every route with its description.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(requests::ask))
        .routes(routes!(requests::take_back))
        .routes(routes!(lists::jobs))
        .routes(routes!(singles::job))
        .routes(routes!(events::follow))
        .routes(routes!(singles::log))
        .routes(routes!(lists::records))
        .routes(routes!(singles::record))
        .routes(routes!(reports::list))
        .routes(routes!(reports::report))
        .routes(routes!(lists::releases))
        .routes(routes!(singles::release))
        .routes(routes!(lists::artifacts))
        .routes(routes!(lists::observations))
        .routes(routes!(lists::alarms))
        .routes(routes!(lists::deliveries))
        .routes(routes!(singles::status))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(itself))
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json",
    responses((status = 200, body = serde_json::Value)))]
async fn itself() -> Json<OpenApi> {
    Json(document())
}

/// The description of the API, OpenAPI 3.1.
pub fn document() -> OpenApi {
    let mut document = routes().into_openapi();
    let components = document.components.get_or_insert_default();
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("token", bearer);
    for path in document.paths.paths.values_mut() {
        for operation in [&mut path.post, &mut path.delete].into_iter().flatten() {
            describe_errors(operation);
        }
        if let Some(operation) = &mut path.get {
            describe_errors(operation);
            let same = ResponseBuilder::new().description("it is what the client has");
            let same = RefOr::T(same.build());
            operation.responses.responses.insert("304".to_owned(), same);
        }
    }
    document
}

/// Whatever else is answered is a problem document.
fn describe_errors(operation: &mut Operation) {
    let reference = openapi::Ref::from_schema_name(Problem::name());
    let content = ContentBuilder::new().schema(Some(reference)).build();
    let error = ResponseBuilder::new()
        .description("why the request was not answered")
        .content(problem::MEDIA_TYPE, content)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(error));
}
